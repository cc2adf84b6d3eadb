"""Many entities at once, many copies of one message, an account that throttles, and a thousand messages in one process.

What is asked goes through SNS, as people ask it, with Lambda's queue and its attempts behind (launch/deliveries.py).
"""
