"""Takes the place of pyaes, which Telethon imports and uses only where libssl is missing."""


class AES:
    def __init__(self, key):
        raise RuntimeError("libssl is missing: install libssl3")
