"""Signs in as a bot, sends, reads, edits, pins and deletes, over each transport and padding of the key.

Usage: session.py PORT KEY_FILE API_ID API_HASH TOKEN CHAT_ID
"""

import asyncio
import io
import os
import sys

PORT = int(sys.argv[1])


def stay_here(event, arguments):
    """Refuses every connection but that to the simulator, whoever asks for it. Nothing removes this hook."""
    if event == "socket.connect" and arguments[1] != ("127.0.0.1", PORT):
        raise RuntimeError(f"a connection to {arguments[1]} was tried")
    if event in ("socket.getaddrinfo", "socket.gethostbyname") and arguments[0] != "127.0.0.1":
        raise RuntimeError(f"the name {arguments[0]} was looked up")


sys.addaudithook(stay_here)

from telethon import TelegramClient, errors  # noqa: E402
from telethon.crypto import rsa  # noqa: E402
from telethon.network import (  # noqa: E402
    ConnectionTcpAbridged,
    ConnectionTcpFull,
    ConnectionTcpIntermediate,
)
from telethon.sessions import MemorySession  # noqa: E402

KEY_FILE, API_ID, API_HASH, TOKEN, CHAT_ID = sys.argv[2:]
WAYS = (
    (ConnectionTcpFull, "RSA_PAD"),
    (ConnectionTcpIntermediate, "RSA_PAD"),
    (ConnectionTcpAbridged, "older padding"),
)


def trust_only_the_simulator(padding):
    rsa._server_keys.clear()
    with open(KEY_FILE, encoding="ascii") as file:
        rsa.add_key(file.read(), old=padding == "older padding")


async def work(client):
    me = await client.get_me()
    assert me.bot, me
    channel = await client.get_entity(int(CHAT_ID))
    text = await client.send_message(channel, "a first message")
    read = await client.get_messages(channel, ids=text.id)
    assert read.message == "a first message", read

    content = os.urandom(700_001)
    file = io.BytesIO(content)
    file.name = "random.bin"
    sent = await client.send_file(
        channel, file, caption="a caption", force_document=True
    )
    read = await client.get_messages(channel, ids=sent.id)
    assert read.message == "a caption" and read.file.name == "random.bin", read
    assert await client.download_media(read, bytes) == content

    await client.edit_message(channel, text.id, "another text")
    read = await client.get_messages(channel, ids=text.id)
    assert read.message == "another text", read
    try:
        await client.edit_message(channel, text.id, "another text")
        raise AssertionError("an edit that changes nothing succeeded")
    except errors.MessageNotModifiedError:
        pass
    await client.pin_message(channel, text.id, notify=False)
    await client.delete_messages(channel, [text.id, sent.id])
    gone = await client.get_messages(channel, ids=[text.id, sent.id])
    assert list(gone) == [None, None], gone


async def main():
    for connection, padding in WAYS:
        trust_only_the_simulator(padding)
        session = MemorySession()
        session.set_dc(2, "127.0.0.1", PORT)
        client = TelegramClient(
            session, int(API_ID), API_HASH, connection=connection, receive_updates=False
        )
        await client.start(bot_token=TOKEN)
        try:
            await asyncio.wait_for(work(client), 60)
        finally:
            await client.disconnect()
        print(f"{connection.__name__} with {padding}: done", flush=True)


asyncio.run(main())
