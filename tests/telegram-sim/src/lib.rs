//! A Telegram server on loopback, as strict as the service where tgfs depends on it.
