//! The broker's thread: connects, hands over, listens, and connects again.

#![cfg_attr(
    not(any(feature = "nats", feature = "redis")),
    allow(unused, reason = "without a client of a broker there is nothing to run")
)]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{runtime, time::timeout};

use super::{Broker, Channel, Outgoing, Queue, inbound::Inlet, url::Scheme};
use crate::{
    Config, Error,
    limits::{BROKER_BATCH_BYTES, BROKER_BATCH_MESSAGES, BROKER_QUEUE},
    registry::random,
    server::{Running, Shared},
    sync::lock,
};

/// Between pings, from the answer to one.
const PING_INTERVAL: Duration = Duration::from_millis(1000);
/// Between attempts to connect: doubles from the first to the last, less up to half of it, by chance.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_millis(1000);
/// How long the end of the server waits for what is queued.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Why a broker cannot be used.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) reason: String,
    /// It will be the same the next time: a wrong password, say.
    pub(super) final_: bool,
}

// By value, as `map_err` gives it.
#[allow(clippy::needless_pass_by_value)]
impl Refused {
    pub(super) fn new(reason: impl ToString) -> Self {
        Self { reason: reason.to_string(), final_: false }
    }

    pub(super) fn finally(reason: impl ToString) -> Self {
        Self { reason: reason.to_string(), final_: true }
    }
}

/// A connection that can be used.
pub(super) enum Link {
    #[cfg(feature = "redis")]
    Redis(super::redis::Client),
    #[cfg(feature = "nats")]
    Nats(super::nats::Client),
}

impl Link {
    async fn connect(broker: &Broker, inlet: &Arc<Inlet>) -> Result<Self, Refused> {
        match broker.url.scheme {
            #[cfg(feature = "redis")]
            Scheme::Redis => {
                super::redis::Client::connect(&broker.url, &broker.prefix, broker.timeout, inlet)
                    .await
                    .map(Self::Redis)
            }
            #[cfg(feature = "nats")]
            Scheme::Nats => super::nats::Client::connect(&broker.url, inlet).await.map(Self::Nats),
            #[allow(unreachable_patterns)]
            _ => Err(Refused::finally("this build has no client for it")),
        }
    }

    /// Subscribes to channels, or takes subscriptions back. In order with [`Link::publish`].
    async fn listen(&self, channels: &[String], wanted: bool) -> Result<(), Refused> {
        match self {
            #[cfg(feature = "redis")]
            Self::Redis(client) => client.listen(channels, wanted).await,
            #[cfg(feature = "nats")]
            Self::Nats(client) => client.listen(channels, wanted).await,
            #[cfg(not(any(feature = "redis", feature = "nats")))]
            _ => Ok(()),
        }
    }

    async fn publish(&self, messages: &[(String, bytes::Bytes)]) -> Result<(), Refused> {
        match self {
            #[cfg(feature = "redis")]
            Self::Redis(client) => client.publish(messages).await,
            #[cfg(feature = "nats")]
            Self::Nats(client) => client.publish(messages).await,
            #[cfg(not(any(feature = "redis", feature = "nats")))]
            _ => Ok(()),
        }
    }

    /// Asks for an answer, behind all that was sent.
    async fn ping(&self) -> Result<(), Refused> {
        match self {
            #[cfg(feature = "redis")]
            Self::Redis(client) => client.ping().await,
            #[cfg(feature = "nats")]
            Self::Nats(client) => client.ping().await,
            #[cfg(not(any(feature = "redis", feature = "nats")))]
            _ => Ok(()),
        }
    }

    /// Does what the connection needs, until it breaks.
    async fn drive(&self, inlet: &Inlet) -> Refused {
        match self {
            #[cfg(feature = "redis")]
            Self::Redis(_) => {
                inlet.broken.notified().await;
                Refused::new("the connection ended")
            }
            #[cfg(feature = "nats")]
            Self::Nats(client) => client.drive(inlet).await,
            #[cfg(not(any(feature = "redis", feature = "nats")))]
            _ => Refused::new(""),
        }
    }

    fn max_message(&self) -> usize {
        match self {
            #[cfg(feature = "nats")]
            Self::Nats(client) => client.max_payload(),
            #[allow(unreachable_patterns)]
            _ => BROKER_QUEUE,
        }
    }
}

/// A broker that is connected, and waits for the server's threads.
pub(crate) struct Starting {
    pub(crate) broker: Arc<Broker>,
    server: SyncSender<Running>,
    ready: Receiver<Result<(), String>>,
}

impl Starting {
    /// The server's threads are about to start: once this returns messages travel.
    pub(crate) fn go(self, shared: &Arc<Shared>) {
        // A thread that has panicked has told so, and takes nothing. A broker that is lost already is told of as later on.
        let _ = self.server.send(Running::new(shared));
        let _ = self.ready.recv_timeout(self.broker.timeout);
    }
}

/// Connects to the broker of `config`, if it has one.
///
/// # Errors
/// [`Error::BrokerUnreachable`] after the time that `config` gives it, [`Error::Thread`].
pub(crate) fn start(config: &Config, node: u64) -> Result<Option<Starting>, Error> {
    let Some(url) = &config.broker else { return Ok(None) };
    let broker = Arc::new(Broker::new(url.clone(), config, node));
    let (ready, connected) = sync_channel(1);
    let (server, started) = sync_channel(1);
    let ours = Arc::clone(&broker);
    thread::Builder::new()
        .name("pocketsocket-broker".to_owned())
        .spawn(move || run(&ours, &ready, &started))
        .map_err(|source| Error::Thread { source })?;
    let unreachable = |reason| Error::BrokerUnreachable { url: url.clone(), reason };
    match connected.recv() {
        Ok(Ok(())) => Ok(Some(Starting { broker, server, ready: connected })),
        Ok(Err(reason)) => Err(unreachable(reason)),
        Err(_) => Err(unreachable("its thread failed".to_owned())),
    }
}

/// All that the thread does.
fn run(broker: &Arc<Broker>, ready: &SyncSender<Result<(), String>>, started: &Receiver<Running>) {
    let runtime = match runtime::Builder::new_current_thread().enable_io().enable_time().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(ready.send(Err(error.to_string()))),
    };
    let inlet = Arc::new(Inlet::default());
    let link = match runtime.block_on(first(broker, &inlet)) {
        Ok(link) => link,
        Err(reason) => return drop(ready.send(Err(reason))),
    };
    if ready.send(Ok(())).is_err() {
        return;
    }
    // Nobody: something else kept the server from starting.
    let Ok(running) = started.recv() else { return };
    let mut link = Some((link, inlet));
    loop {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            runtime.block_on(keep(broker, &running.shared, link.take(), ready));
        }));
        let Err(panic) = outcome else { return };
        let message =
            panic.downcast_ref::<&str>().map_or_else(String::new, |text| (*text).to_owned());
        broker.connected.store(false, Ordering::Relaxed);
        running
            .shared
            .host
            .error(&Error::Panicked { thread: "pocketsocket-broker".to_owned(), message });
    }
}

/// The first connection: tried again while there is time, as the broker may be starting too.
async fn first(broker: &Broker, inlet: &Arc<Inlet>) -> Result<Link, String> {
    let deadline = Instant::now() + broker.timeout;
    let mut pause = FIRST_PAUSE;
    let mut reason = format!("no answer within {} ms", broker.timeout.as_millis());
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match timeout(left, Link::connect(broker, inlet)).await {
            Ok(Ok(link)) => return Ok(link),
            Ok(Err(refused)) if refused.final_ => return Err(refused.reason),
            Ok(Err(refused)) => reason = refused.reason,
            Err(_) => return Err(reason),
        }
        if left.is_zero() {
            return Err(reason);
        }
        tokio::time::sleep(next_pause(&mut pause).min(left)).await;
    }
}

/// How long to wait before the next attempt: nodes that lost their broker together should not come back together.
fn next_pause(pause: &mut Duration) -> Duration {
    let most = *pause;
    *pause = (most * 2).min(LAST_PAUSE);
    most.mul_f64(1.0 - f64::from(random()) / f64::from(u32::MAX) / 2.0)
}

/// Uses connections one after the other, until the server ends.
async fn keep(
    broker: &Arc<Broker>,
    shared: &Arc<Shared>,
    mut link: Option<(Link, Arc<Inlet>)>,
    ready: &SyncSender<Result<(), String>>,
) {
    let mut broken: Option<Instant> = None;
    let mut told = 0;
    let mut pause = FIRST_PAUSE;
    loop {
        if let Some((link, inlet)) = link.take() {
            inlet.open(shared, broker);
            let back = || {
                pause = FIRST_PAUSE;
                // Only the first time somebody waits for it.
                let _ = ready.try_send(Ok(()));
                let all_dropped = broker.dropped.load(Ordering::Relaxed);
                let dropped = all_dropped - std::mem::replace(&mut told, all_dropped);
                if let Some(since) = broken.take() {
                    log::info!("{} is back", broker.url);
                    shared.host.error(&Error::BrokerGap {
                        url: broker.url.clone(),
                        lasted: since.elapsed(),
                        dropped,
                    });
                }
            };
            let outcome = session(broker, &link, &inlet, back).await;
            inlet.flush();
            broker.connected.store(false, Ordering::SeqCst);
            let Err(refused) = outcome else { return };
            log::warn!("{}: {}", broker.url, refused.reason);
            if broken.is_none() {
                broker.gaps.fetch_add(1, Ordering::Relaxed);
                broken = Some(Instant::now());
                shared
                    .host
                    .error(&Error::BrokerLost { url: broker.url.clone(), reason: refused.reason });
            }
        }
        // Nothing waits for a broker that is not there. What was reserved before it was lost may still come.
        let wait = tokio::time::sleep(next_pause(&mut pause));
        tokio::pin!(wait);
        loop {
            let (_, batch, ending) = drain(broker);
            drop(batch);
            if ending {
                return;
            }
            tokio::select! {
                () = &mut wait => break,
                () = broker.wake.notified() => {}
            }
        }
        let inlet = Arc::new(Inlet::default());
        link = match timeout(broker.timeout, Link::connect(broker, &inlet)).await {
            Ok(Ok(link)) => Some((link, inlet)),
            Ok(Err(refused)) => {
                log::debug!("{}: {}", broker.url, refused.reason);
                None
            }
            Err(_) => None,
        };
    }
}

/// Uses one connection: `Ok` at the end of the server. `back` is called once messages travel.
async fn session(
    broker: &Broker,
    link: &Link,
    inlet: &Inlet,
    back: impl FnOnce(),
) -> Result<(), Refused> {
    let writing = async {
        // All that is wanted now; what changes from here on is told one by one.
        let mut channels = vec![
            Channel::All.name(&broker.prefix),
            Channel::Node(broker.node).name(&broker.prefix),
        ];
        {
            let mut queue = lock(&broker.queue);
            queue.changed.clear();
            let topics = queue.topics.keys().cloned().map(Channel::Topic);
            channels.extend(topics.map(|channel| channel.name(&broker.prefix)));
        }
        for channels in channels.chunks(BROKER_BATCH_MESSAGES) {
            link.listen(channels, true).await?;
        }
        // Its answer says that the broker has done all of that.
        within(broker.timeout, link.ping()).await?;
        broker.max_message.store(link.max_message(), Ordering::Relaxed);
        broker.connected.store(true, Ordering::SeqCst);
        back();
        tokio::select! {
            outcome = write(broker, link) => outcome,
            outcome = ping(broker, link) => outcome,
        }
    };
    let flushing = async {
        loop {
            inlet.burst.notified().await;
            inlet.flush();
        }
    };
    tokio::select! {
        outcome = writing => outcome,
        refused = link.drive(inlet) => Err(refused),
        () = flushing => Ok(()),
    }
}

async fn within(
    time: Duration,
    answer: impl Future<Output = Result<(), Refused>>,
) -> Result<(), Refused> {
    let late = |_| Refused::new(format!("no answer within {} ms", time.as_millis()));
    timeout(time, answer).await.map_err(late)?
}

/// Hands over what is queued, until the server ends.
async fn write(broker: &Broker, link: &Link) -> Result<(), Refused> {
    loop {
        let (changes, mut batch, ending) = drain(broker);
        for (wanted, channels) in [(true, &changes.0), (false, &changes.1)] {
            for channels in channels.chunks(BROKER_BATCH_MESSAGES) {
                link.listen(channels, wanted).await?;
            }
        }
        let words = async {
            while let Some(messages) = batch.next() {
                link.publish(&messages).await?;
                batch.handed_over(messages.len());
            }
            Ok::<_, Refused>(())
        };
        if ending {
            // Also what is on its way: the broker has it once it answers.
            let _ = within(LAST_WORDS, async {
                words.await?;
                link.ping().await
            })
            .await;
            return Ok(());
        }
        words.await?;
        broker.wake.notified().await;
    }
}

/// Looks whether the broker is alive, and how far behind.
async fn ping(broker: &Broker, link: &Link) -> Result<(), Refused> {
    loop {
        let asked = Instant::now();
        within(broker.timeout, link.ping()).await?;
        broker.lag.store(asked.elapsed().as_micros() as u64, Ordering::Relaxed);
        tokio::time::sleep(PING_INTERVAL).await;
    }
}

/// Channels to subscribe to, and to leave.
type Changes = (Vec<String>, Vec<String>);

/// Takes all that is queued, and whether the server ends.
fn drain(broker: &Broker) -> (Changes, Batch<'_>, bool) {
    // Before the take: who posts after it wakes again.
    broker.scheduled.store(false, Ordering::SeqCst);
    let mut queue = lock(&broker.queue);
    let Queue { outgoing, topics, changed, ending } = &mut *queue;
    let (came, went): (Vec<_>, Vec<_>) =
        changed.drain().partition(|topic| topics.contains_key(topic));
    let messages = std::mem::take(outgoing);
    let ending = *ending;
    drop(queue);
    let names = |topics: Vec<_>| {
        topics.into_iter().map(|topic| Channel::Topic(topic).name(&broker.prefix)).collect()
    };
    (
        (names(came), names(went)),
        Batch { broker, messages: messages.into_iter(), unsure: (0, 0) },
        ending,
    )
}

/// Messages that were taken from the queue: what is not handed over is counted as dropped.
struct Batch<'a> {
    broker: &'a Broker,
    messages: std::vec::IntoIter<Outgoing>,
    /// Messages, and their cost, that were given out and not yet taken by the broker.
    unsure: (usize, usize),
}

impl Batch<'_> {
    fn next(&mut self) -> Option<Vec<(String, bytes::Bytes)>> {
        let mut bytes = 0;
        let mut some = Vec::new();
        while some.len() < BROKER_BATCH_MESSAGES && bytes < BROKER_BATCH_BYTES {
            let Some(outgoing) = self.messages.next() else { break };
            bytes += outgoing.cost();
            some.push((outgoing.channel.name(&self.broker.prefix), outgoing.message));
        }
        self.unsure = (some.len(), bytes);
        (!some.is_empty()).then_some(some)
    }

    fn handed_over(&mut self, messages: usize) {
        let (_, cost) = std::mem::take(&mut self.unsure);
        self.broker.waiting.fetch_sub(cost, Ordering::Relaxed);
        self.broker.sent.fetch_add(messages as u64, Ordering::Relaxed);
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        let (mut count, mut cost) = self.unsure;
        for outgoing in self.messages.by_ref() {
            count += 1;
            cost += outgoing.cost();
        }
        self.broker.waiting.fetch_sub(cost, Ordering::Relaxed);
        self.broker.drop_messages(count);
    }
}
