"""The accounts and the region of the bed."""

HUB = "111111111111"
MEMBER = "222222222222"
REGION = "us-east-1"
