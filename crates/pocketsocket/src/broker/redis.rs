//! Redis, by the `redis` crate: one RESP3 connection for publishing and for what comes.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use redis::{
    AsyncConnectionConfig, Cmd, ConnectionAddr, ErrorKind, IntoConnectionInfo as _,
    ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo, RedisError, Value,
    aio::MultiplexedConnection,
};

use super::{BrokerUrl, inbound::Inlet, run::Refused};

/// How many nodes of a cluster may send us on to another.
const REDIRECTS: usize = 3;

impl From<RedisError> for Refused {
    fn from(error: RedisError) -> Self {
        // HELLO's own words, before the crate's.
        if matches!(error.code(), Some("WRONGPASS" | "NOAUTH")) {
            return Self::finally("it refuses the user or the password");
        }
        if error.is_timeout() {
            return Self::new("no answer in time");
        }
        match error.kind() {
            ErrorKind::AuthenticationFailed => Self::finally("it refuses the user or the password"),
            ErrorKind::RESP3NotSupported => {
                Self::finally("it is older than Redis 6: it speaks no RESP3")
            }
            _ => Self::new(error),
        }
    }
}

/// A connection.
pub(super) struct Client {
    connection: MultiplexedConnection,
    /// Redis 7: the channels belong to a slot of the cluster, and no other node of it is bothered.
    sharded: bool,
    tag: String,
}

impl Client {
    pub(super) async fn connect(
        url: &BrokerUrl,
        prefix: &str,
        timeout: Duration,
        inlet: &Arc<Inlet>,
    ) -> Result<Self, Refused> {
        // In braces: all channels of an application are in one slot, so that what a node sends stays in order.
        let probe = format!("{{{prefix}}}.probe");
        let (mut host, mut port) = (url.host.clone(), url.port);
        for _ in 0..=REDIRECTS {
            let mut connection = open(url, &host, port, timeout, inlet).await?;
            let probed =
                Cmd::new().arg("SPUBLISH").arg(&probe).arg("").exec_async(&mut connection).await;
            if let Err(error) = &probed
                && let Some((node, at)) = error.redirect_node()
            {
                if !node.is_empty() {
                    node.clone_into(&mut host);
                }
                port = at;
                continue;
            }
            return Ok(Self { connection, sharded: probed.is_ok(), tag: prefix.to_owned() });
        }
        Err(Refused::new("its nodes send us from one to the other"))
    }

    /// The name of a channel, with its prefix in braces.
    fn channel(&self, name: &str) -> String {
        let rest = name.strip_prefix(&self.tag).unwrap_or(name);
        format!("{{{}}}{rest}", self.tag)
    }

    fn command(&self, name: &str) -> Cmd {
        let mut command = Cmd::new();
        if self.sharded {
            command.arg(format!("S{name}"))
        } else {
            command.arg(name)
        };
        command
    }

    pub(super) async fn listen(&self, channels: &[String], wanted: bool) -> Result<(), Refused> {
        let name = if wanted { "SUBSCRIBE" } else { "UNSUBSCRIBE" };
        let mut pipe = redis::pipe();
        for channel in channels {
            // One a command: each has one answer then, which is how the crate counts them.
            let mut command = self.command(name);
            command.arg(self.channel(channel));
            pipe.add_command(command);
        }
        Ok(pipe.exec_async(&mut self.connection.clone()).await?)
    }

    pub(super) async fn publish(&self, messages: &[(String, Bytes)]) -> Result<(), Refused> {
        let mut pipe = redis::pipe();
        for (channel, message) in messages {
            let mut command = self.command("PUBLISH");
            command.arg(self.channel(channel)).arg(&message[..]);
            pipe.add_command(command);
        }
        Ok(pipe.exec_async(&mut self.connection.clone()).await?)
    }

    pub(super) async fn ping(&self) -> Result<(), Refused> {
        Ok(Cmd::new().arg("PING").exec_async(&mut self.connection.clone()).await?)
    }
}

async fn open(
    url: &BrokerUrl,
    host: &str,
    port: u16,
    timeout: Duration,
    inlet: &Arc<Inlet>,
) -> Result<MultiplexedConnection, Refused> {
    let mut settings = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3);
    if let Some(user) = &url.user {
        settings = settings.set_username(user);
    }
    if let Some(password) = &url.password {
        settings = settings.set_password(password);
    }
    let info = ConnectionAddr::Tcp(host.to_owned(), port)
        .into_connection_info()?
        .set_redis_settings(settings);
    let inlet = Arc::clone(inlet);
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(timeout))
        .set_response_timeout(Some(timeout))
        .set_push_sender(move |push: PushInfo| {
            match push.kind {
                PushKind::Message | PushKind::SMessage => {
                    if let Some(Value::BulkString(bytes)) = push.data.last() {
                        inlet.take(bytes);
                    }
                }
                PushKind::Disconnection => inlet.broken.notify_one(),
                _ => {}
            }
            Ok::<_, RedisError>(())
        });
    Ok(redis::Client::open(info)?.get_multiplexed_async_connection_with_config(&config).await?)
}
