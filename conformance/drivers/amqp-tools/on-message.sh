#!/bin/sh
# What amqp-consume runs for each message: hands the body to the driver as one line of base64, on the descriptor that is named first,
# and ends with the exit code that the driver writes to the second.
base64 -w0 >&"$1"
echo >&"$1"
read -r verdict <&"$2"
exit "$verdict"
