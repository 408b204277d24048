"""docker: build a recipe, run it, push it, report its digest. The only place that knows docker."""
