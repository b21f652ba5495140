"""Language models: texts continued together token by token, paid for by the token, told as they come."""
