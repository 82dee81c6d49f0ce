//! The calls that are rare, by napi's macros. `index.ts` has checked the types of what users gave.

use std::{path::PathBuf, time::Duration};

use napi::{Either, Env, JsValue, Unknown};
use napi_derive::napi;
use pocketsocket::{
    BrokerStats, Config, DropPolicy, Error, Outbox, RateLimit, SendStatus, SocketId, Template,
    TrustProxy, Uuid,
};

use crate::{
    authorizer,
    bridge::{self, StartError},
    instance::{self, Instance},
};

/// How many messages a socket may bring in.
#[napi(object)]
pub struct RateSettings {
    /// In the long run.
    pub messages_per_second: f64,
    /// At once; as many as a second's.
    pub burst: Option<f64>,
}

/// Settings of `runServer`; what is not given has the server's default.
#[napi(object)]
pub struct ServerSettings {
    /// Where to listen.
    pub address: String,
    /// 0 picks a free one.
    pub port: u32,
    /// Share the port with other processes.
    pub reuse_port: Option<bool>,
    /// A path to listen on in place of address and port.
    pub unix: Option<String>,
    /// Bytes.
    pub max_payload: Option<f64>,
    /// Frames.
    pub max_fragments: Option<f64>,
    /// Messages.
    pub rate_limit: Option<RateSettings>,
    /// Seconds.
    pub idle_timeout: Option<f64>,
    /// Seconds.
    pub ping_interval: Option<f64>,
    /// Milliseconds.
    pub handshake_timeout: Option<f64>,
    /// Milliseconds.
    pub close_timeout: Option<f64>,
    /// Bytes.
    pub backpressure_limit: Option<f64>,
    /// `drop` or `close`.
    pub drop_policy: Option<String>,
    /// Sockets.
    pub max_connections: Option<f64>,
    /// Connections of one address.
    pub max_connections_per_address: Option<f64>,
    /// How many proxies stand before each connection, or the networks that they are in.
    pub trust_proxy: Option<Either<f64, Vec<String>>>,
    /// Handshakes wait for JavaScript.
    pub authorize: Option<bool>,
    /// Headers of a request.
    pub max_headers: Option<f64>,
    /// Bytes of a request.
    pub max_header_bytes: Option<f64>,
    /// Bytes.
    pub inbound_limit: Option<f64>,
    /// Bytes.
    pub inbound_total: Option<f64>,
    /// Bytes.
    pub backpressure_total: Option<f64>,
    /// I/O threads.
    pub threads: Option<f64>,
    /// A file.
    pub template: Option<String>,
    /// Relay in Rust.
    pub broadcast: Option<bool>,
    /// Print events.
    pub print: Option<bool>,
    /// Origins of browsers.
    pub allowed_origins: Option<Vec<String>>,
    /// A URL.
    pub broker: Option<String>,
    /// Of the broker's channels.
    pub broker_prefix: Option<String>,
    /// Milliseconds.
    pub broker_timeout: Option<f64>,
}

/// What `runServer` came to: a server, or an error's code and message.
#[napi(object)]
#[derive(Default)]
pub struct Started {
    /// The IP address that it listens on; empty for a Unix socket.
    pub address: String,
    /// The port, as picked.
    pub port: u32,
    /// False if it ran already with equal settings.
    pub started: bool,
    /// Of an error.
    pub code: Option<String>,
    /// Of an error.
    pub message: Option<String>,
}

fn config(settings: ServerSettings) -> Result<Config, Error> {
    let default = Config::default();
    let count = |value: Option<f64>, default: usize| value.map_or(default, |value| value as usize);
    let time = |value: Option<f64>, unit: f64, default: Duration| {
        value.map_or(default, |value| Duration::from_millis((value * unit) as u64))
    };
    Ok(Config {
        address: settings.address,
        port: u16::try_from(settings.port).unwrap_or(0),
        reuse_port: settings.reuse_port.unwrap_or_else(bridge::shares_port),
        unix: settings.unix.map(PathBuf::from),
        max_payload: count(settings.max_payload, default.max_payload),
        max_fragments: count(settings.max_fragments, default.max_fragments),
        rate_limit: settings.rate_limit.map(|limit| RateLimit {
            messages_per_second: limit.messages_per_second as u32,
            burst: limit.burst.unwrap_or(limit.messages_per_second) as u32,
        }),
        idle_timeout: time(settings.idle_timeout, 1000.0, default.idle_timeout),
        ping_interval: time(settings.ping_interval, 1000.0, default.ping_interval),
        handshake_timeout: time(settings.handshake_timeout, 1.0, default.handshake_timeout),
        close_timeout: time(settings.close_timeout, 1.0, default.close_timeout),
        backpressure_limit: count(settings.backpressure_limit, default.backpressure_limit),
        drop_policy: match settings.drop_policy.as_deref() {
            Some("close") => DropPolicy::Close,
            _ => default.drop_policy,
        },
        max_connections: count(settings.max_connections, default.max_connections),
        max_connections_per_address: count(
            settings.max_connections_per_address,
            default.max_connections_per_address,
        ),
        trust_proxy: match settings.trust_proxy {
            None => default.trust_proxy,
            Some(Either::A(0.0)) => TrustProxy::None,
            Some(Either::A(hops)) => TrustProxy::Hops(hops as usize),
            Some(Either::B(networks)) => TrustProxy::Networks(
                networks.iter().map(|network| network.parse()).collect::<Result<_, _>>()?,
            ),
        },
        authorize: settings.authorize.unwrap_or(default.authorize),
        max_headers: count(settings.max_headers, default.max_headers),
        max_header_bytes: count(settings.max_header_bytes, default.max_header_bytes),
        inbound_limit: count(settings.inbound_limit, default.inbound_limit),
        inbound_total: count(settings.inbound_total, default.inbound_total),
        backpressure_total: count(settings.backpressure_total, default.backpressure_total),
        threads: count(settings.threads, default.threads),
        template: settings.template.map_or_else(find_template, |path| Template::File(path.into())),
        broadcast: settings.broadcast.unwrap_or(default.broadcast),
        print: settings.print.unwrap_or(default.print),
        allowed_origins: settings.allowed_origins.unwrap_or(default.allowed_origins),
        broker: settings.broker.map(|url| url.parse()).transpose()?,
        broker_prefix: settings.broker_prefix.unwrap_or(default.broker_prefix),
        broker_timeout: time(settings.broker_timeout, 1.0, default.broker_timeout),
    })
}

/// A user's `templates/index.html` takes the place of the built-in page.
fn find_template() -> Template {
    let path = PathBuf::from("templates/index.html");
    if path.is_file() { Template::File(path) } else { Template::BuiltIn }
}

fn instance(env: &Env) -> napi::Result<&'static Instance> {
    instance::of(env.raw()).ok_or_else(|| napi::Error::from_reason("the addon was not loaded here"))
}

/// Gives the calling thread its inbox; does nothing the second time. Gives an error's message.
#[napi]
pub fn attach(
    env: Env,
    pump: Unknown<'_>,
    dispatch: Unknown<'_>,
    meta: Unknown<'_>,
    main: bool,
) -> napi::Result<Option<String>> {
    // SAFETY: index.ts gives two functions and a Uint32Array, live in this call.
    let attached = unsafe { instance(&env)?.attach(pump.raw(), dispatch.raw(), meta.raw(), main) };
    Ok(attached.err().map(str::to_owned))
}

/// The thread's hook came or went.
#[napi]
pub fn set_hooked(env: Env, hooked: bool) -> napi::Result<()> {
    instance(&env)?.set_hooked(hooked);
    Ok(())
}

/// Whether the thread is kept alive.
#[napi]
pub fn keep_alive(env: Env, keep: bool) -> napi::Result<()> {
    instance(&env)?.keep_alive(keep);
    Ok(())
}

/// Starts the server, or joins the one that runs.
#[napi]
pub fn run_server(env: Env, settings: ServerSettings) -> Started {
    let prepare = || authorizer::open(env.raw());
    let started = config(settings)
        .map_err(StartError::Failed)
        .and_then(|config| bridge::start(config, prepare));
    match started {
        Ok((server, started)) => {
            let address = server.local_addr();
            Started {
                address: match server.config().unix {
                    None => address.ip().to_string(),
                    Some(_) => String::new(),
                },
                port: u32::from(address.port()),
                started,
                ..Started::default()
            }
        }
        Err(StartError::Failed(error)) => Started {
            code: Some(error.code().to_owned()),
            message: Some(error.to_string()),
            ..Started::default()
        },
        Err(StartError::Running(server)) => Started {
            code: Some("ERR_SERVER_RUNNING".to_owned()),
            message: Some(format!(
                "a server runs in this process on {} with other settings: give equal ones to share it, or await \
                 shutdownServer() first",
                server.url()
            )),
            ..Started::default()
        },
        Err(StartError::Stopping(server)) => Started {
            code: Some("ERR_SERVER_RUNNING".to_owned()),
            message: Some(format!(
                "the server of this process on {} is being shut down: await shutdownServer() first",
                server.url()
            )),
            ..Started::default()
        },
    }
}

/// Begins the shutdown. False if there is no server, and so nothing to wait for.
#[napi]
pub fn shutdown_server(env: Env, timeout_ms: f64) -> napi::Result<bool> {
    instance(&env)?.flush();
    Ok(bridge::begin_shutdown(Duration::from_millis(timeout_ms as u64)))
}

/// The process is about to exit: sockets get what was sent to them, and a Close.
#[napi]
pub fn end_process(env: Env) -> napi::Result<()> {
    instance(&env)?.flush();
    bridge::end_process();
    Ok(())
}

/// The number of the server that runs, 0 without one.
#[napi]
pub fn running() -> u32 {
    bridge::running()
}

fn resolve(uuid: &str) -> Option<SocketId> {
    let uuid: Uuid = uuid.parse().ok()?;
    bridge::server()?.resolve(uuid)
}

fn command(
    env: &Env,
    uuid: &str,
    body: impl FnOnce(&mut Outbox, SocketId) -> SendStatus,
    remote: impl FnOnce(&mut Outbox, Uuid) -> SendStatus,
) -> napi::Result<u32> {
    let Ok(uuid) = uuid.parse() else { return Ok(SendStatus::Unknown as u32) };
    let status = instance(env)?.with_outbox(|outbox| match outbox.resolve(uuid) {
        Some(id) => body(outbox, id),
        None => remote(outbox, uuid),
    });
    Ok(status.unwrap_or(SendStatus::Unknown) as u32)
}

/// Starts a closing handshake: 0, or 1 for a socket that is closed or never was.
#[napi]
pub fn close(env: Env, uuid: String, code: u32, reason: String) -> napi::Result<u32> {
    let code = code as u16;
    let ours = |outbox: &mut Outbox, id| outbox.close(id, code, &reason);
    command(&env, &uuid, ours, |outbox, uuid| outbox.close_remote(uuid, code, &reason))
}

/// Stops reading a socket of this server: 0, or 1 for one that is closed, never was, or is another server's.
#[napi]
pub fn pause(env: Env, uuid: String) -> napi::Result<u32> {
    command(&env, &uuid, Outbox::pause, |_, _| SendStatus::Unknown)
}

/// Reads a paused socket again; the status is as of [`pause`].
#[napi]
pub fn resume(env: Env, uuid: String) -> napi::Result<u32> {
    command(&env, &uuid, Outbox::resume, |_, _| SendStatus::Unknown)
}

/// Adds a socket to a topic.
#[napi]
pub fn subscribe(env: Env, uuid: String, topic: String) -> napi::Result<u32> {
    let ours = |outbox: &mut Outbox, id| outbox.subscribe(id, &topic);
    command(&env, &uuid, ours, |outbox, uuid| outbox.change_topic_remote(uuid, &topic, true))
}

/// Takes a socket from a topic.
#[napi]
pub fn unsubscribe(env: Env, uuid: String, topic: String) -> napi::Result<u32> {
    let ours = |outbox: &mut Outbox, id| outbox.unsubscribe(id, &topic);
    command(&env, &uuid, ours, |outbox, uuid| outbox.change_topic_remote(uuid, &topic, false))
}

/// What a socket subscribed to.
#[napi]
pub fn topics(uuid: String) -> Vec<String> {
    let (Some(server), Some(id)) = (bridge::server(), resolve(&uuid)) else { return Vec::new() };
    server.topics(id).iter().map(ToString::to_string).collect()
}

/// The uuids of all open sockets.
#[napi]
pub fn clients() -> Vec<String> {
    let uuids = bridge::server().map(|server| server.clients()).unwrap_or_default();
    uuids.iter().map(ToString::to_string).collect()
}

/// Whether a socket is open.
#[napi]
pub fn has(uuid: String) -> bool {
    resolve(&uuid).is_some()
}

/// Bytes that wait to be sent to a socket.
#[napi]
pub fn buffered_amount(uuid: String) -> f64 {
    let amount = resolve(&uuid).and_then(|id| Some(bridge::server()?.buffered_amount(id)));
    amount.unwrap_or(0) as f64
}

/// The server's figures; all 0 without one. Documented in `index.ts`.
#[napi(object)]
#[derive(Default)]
#[allow(missing_docs)]
pub struct ServerStats {
    pub connections: f64,
    pub buffered_bytes: f64,
    pub waiting_bytes: f64,
    pub threads: f64,
    pub uptime: f64,
    pub accepted: f64,
    pub opened: f64,
    pub closed: f64,
    pub pages: f64,
    pub refused: f64,
    pub messages_in: f64,
    pub bytes_in: f64,
    pub messages_out: f64,
    pub bytes_out: f64,
    pub dropped: f64,
    pub discarded: f64,
    pub faults: f64,
    pub slow_closed: f64,
    pub broker: Option<BrokerFigures>,
}

/// Figures of the connection to the broker. Documented in `index.ts`.
#[napi(object)]
#[allow(missing_docs)]
pub struct BrokerFigures {
    pub state: String,
    pub lag: f64,
    pub waiting_bytes: f64,
    pub sent: f64,
    pub received: f64,
    pub dropped: f64,
    pub malformed: f64,
    pub gaps: f64,
}

fn broker_figures(stats: &BrokerStats) -> BrokerFigures {
    BrokerFigures {
        state: if stats.connected { "connected" } else { "reconnecting" }.to_owned(),
        lag: stats.lag as f64 / 1000.0,
        waiting_bytes: stats.waiting_bytes as f64,
        sent: stats.sent as f64,
        received: stats.received as f64,
        dropped: stats.dropped as f64,
        malformed: stats.malformed as f64,
        gaps: stats.gaps as f64,
    }
}

/// See [`ServerStats`].
#[napi]
pub fn stats() -> ServerStats {
    let Some(server) = bridge::server() else { return ServerStats::default() };
    let stats = server.stats();
    ServerStats {
        connections: stats.connections as f64,
        buffered_bytes: stats.buffered_bytes as f64,
        waiting_bytes: stats.waiting_bytes as f64,
        threads: stats.threads as f64,
        uptime: stats.uptime as f64,
        accepted: stats.accepted as f64,
        opened: stats.opened as f64,
        closed: stats.closed as f64,
        pages: stats.pages as f64,
        refused: stats.refused as f64,
        messages_in: stats.messages_in as f64,
        bytes_in: stats.bytes_in as f64,
        messages_out: stats.messages_out as f64,
        bytes_out: stats.bytes_out as f64,
        dropped: stats.dropped as f64,
        discarded: stats.discarded as f64,
        faults: stats.faults as f64,
        slow_closed: stats.slow_closed as f64,
        broker: server.broker_stats().as_ref().map(broker_figures),
    }
}
