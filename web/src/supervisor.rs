//! systemd, when it started this process: the socket that it hands over, and what it is told. Without it, nothing here does
//! anything.

use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;
use sd_notify::NotifyState;

use crate::config::ServerConfig;

/// What was handed over is not what the settings say.
#[derive(Debug, thiserror::Error)]
pub enum HandOverError {
    /// One is the public's; nothing here knows what others are for.
    #[error("{0} sockets were handed over, where one is of use")]
    Several(usize),
    /// A socket of another kind.
    #[error("what was handed over to listen on is no TCP socket: {0}")]
    Unfit(#[from] std::io::Error),
    /// Somebody wants clients to call elsewhere, and they would wait there in vain.
    #[error(
        "systemd listens on {socket} for this process, and KOKORO_LISTEN says {listen}: change the address in kokoro.socket, and \
         leave KOKORO_LISTEN out"
    )]
    Elsewhere {
        /// Where the socket is.
        socket: SocketAddr,
        /// Where the settings say.
        listen: SocketAddr,
    },
}

/// Takes the listening socket that this process was started with, if it was. It outlives the process: who calls while none
/// runs waits in its queue. To be called once, before there are threads.
///
/// # Errors
/// When it is not one, or not where the settings want it.
pub fn socket(config: &ServerConfig) -> Result<Option<TcpListener>, HandOverError> {
    let mut handed_over = ListenFd::from_env();
    if handed_over.len() > 1 {
        return Err(HandOverError::Several(handed_over.len()));
    }
    let Some(listener) = handed_over.take_tcp_listener(0)? else { return Ok(None) };
    let (socket, listen) = (listener.local_addr()?, config.listen);
    // The default is nobody's wish.
    if listen != socket && listen != ServerConfig::default().listen {
        return Err(HandOverError::Elsewhere { socket, listen });
    }
    Ok(Some(listener))
}

/// Says that requests are answered.
pub(crate) fn tell_ready() {
    tell(NotifyState::Ready);
}

/// Says that the process ends as soon as what it has begun is done.
pub(crate) fn tell_stopping() {
    tell(NotifyState::Stopping);
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "systemd cannot be told how this process fares");
    }
}
