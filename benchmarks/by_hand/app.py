"""The handler that one writes by hand: load the model with boto3 and joblib, predict."""

import io
import os

import boto3
import joblib
from botocore.config import Config

s3 = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"], config=Config(s3={"addressing_style": "path"}))
model = joblib.load(io.BytesIO(s3.get_object(Bucket="bench", Key="iris.joblib")["Body"].read()))


def handler(event, context):
    species = model.predict([event["data"]["input"]])[0]
    return {"result": {"result": int(species)}}
