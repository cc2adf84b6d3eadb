"""The matrices: every call that the function makes is a point where it dies, or where AWS fails it."""
