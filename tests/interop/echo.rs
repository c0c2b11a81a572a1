//! Data channels of the recorder: what comes by a channel of the peer goes back by it, and what goes by one of ours is to
//! come back.

use futures_lite::StreamExt;
use futures_lite::future::try_zip;
use serde_json::{Value, json};
use symple::calling::{Channel, Channels};
use symple::rtc::{ChannelError, ChannelMessage};

/// In bytes; the first and the last one are the least and the most that may be sent.
const SIZES: [usize; 5] = [1, 1199, 1200, 16 * 1024, 64 * 1024];
/// Messages behind those, which have no room in any queue together.
const MORE: u16 = 100;

/// Sends back what comes by channels that the peer opens.
pub(crate) async fn answer(mut channels: Channels) {
    while let Some(channel) = channels.next().await {
        println!("{}", json!({ "saw": "channel", "label": channel.label(), "protocol": channel.protocol() }));
        let back = async move {
            while let Some(message) = channel.recv().await {
                if send(&channel, &message).await.is_err() {
                    break;
                }
            }
            println!("{}", json!({ "saw": "channel closed", "label": channel.label() }));
        };
        smol::spawn(back).detach();
    }
}

/// Sends messages of many sizes by a channel of ours, and compares what comes back: the counts of what was sent, what
/// came back, and what came that was not sent or not in order. `lossy`: some may be lost, and be out of order.
pub(crate) async fn converse(channel: &Channel, lossy: bool) -> Value {
    if let Err(e) = channel.opened().await {
        return json!({ "saw": "talked", "label": channel.label(), "told": e.to_string() });
    }
    let sent = messages(lossy);
    let send = async {
        for message in &sent {
            send(channel, message).await?;
        }
        Ok(())
    };
    let receive = async {
        let (mut came, mut wrong, mut bytes) = (0, 0, 0_usize);
        let mut rest: Vec<&ChannelMessage> = sent.iter().collect();
        while let Some(message) = channel.recv().await {
            came += 1;
            bytes += message.as_bytes().len();
            let at = rest.iter().position(|sent| **sent == message);
            match at.filter(|at| lossy || *at == 0) {
                Some(at) => drop(rest.remove(at)),
                None => wrong += 1,
            }
            // Where messages get lost, one of the last is not.
            if rest.is_empty() || is_last(&message) {
                break;
            }
        }
        Ok::<_, ChannelError>(json!({ "sent": sent.len(), "came": came, "wrong": wrong, "bytes": bytes }))
    };
    let told = match try_zip(send, receive).await {
        Ok(((), told)) => told,
        Err(e) => json!(e.to_string()),
    };
    json!({ "saw": "talked", "label": channel.label(), "told": told })
}

fn is_last(message: &ChannelMessage) -> bool {
    matches!(message, ChannelMessage::Text(text) if text.starts_with("last"))
}

fn messages(lossy: bool) -> Vec<ChannelMessage> {
    let bytes = |n: usize, len: usize| ChannelMessage::Binary((0..len).map(|i| (i * 7 + n) as u8).collect());
    let mut all = Vec::new();
    if !lossy {
        for (n, size) in SIZES.into_iter().enumerate() {
            all.push(bytes(n, size));
            all.push(ChannelMessage::Text("ü".repeat(size / 2) + &"x".repeat(size % 2)));
        }
    }
    for n in 0..MORE {
        let mut message = n.to_be_bytes().to_vec();
        message.resize(if lossy { 100 } else { 4096 }, n as u8);
        all.push(ChannelMessage::Binary(message));
    }
    let count = if lossy { 40 } else { 1 };
    all.extend((0..count).map(|n| ChannelMessage::Text(format!("last {n}"))));
    all
}

async fn send(channel: &Channel, message: &ChannelMessage) -> Result<(), ChannelError> {
    loop {
        match channel.send(message) {
            Err(ChannelError::Full) => channel.room().await?,
            done => return done,
        }
    }
}
