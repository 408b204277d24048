"""What all tests stand on."""

import signal

# A shell's background jobs ignore Ctrl-C, those of nohup hang-ups, and all that the tests start would inherit it.
for _number, _usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _usual)
