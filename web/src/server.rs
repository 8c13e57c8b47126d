//! The server of HTTP: its sockets, its TLS, and what every request and answer passes on its way.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_cors::Cors;
use actix_web::dev::Server;
use actix_web::http::Method;
use actix_web::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, IF_NONE_MATCH};
use actix_web::middleware::{Condition, from_fn};
use actix_web::web::{Data, ServiceConfig};
use actix_web::{App, HttpServer};
use anyhow::Context;
use engine::Chance;
use socket2::SockRef;
use tokio::net::TcpSocket;

use crate::config::{CorsConfig, NodeConfig, ServerConfig};
use crate::connections::{Bounds, Connections};
use crate::state::AppState;
use crate::static_files::StaticFiles;
use crate::tls::Certificate;
use crate::{guard, routes, telemetry};

/// How long a client may leave what was sent to it unread before it is cut off: actix has no bound for that.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Threads of one worker for what blocks: all uploads at once, each of which may take long, and the hashes of passwords.
const BLOCKING_THREADS: usize = 64;

/// Connections of those who run the program.
const ADMIN_CONNECTIONS: Bounds = Bounds { max: 128, of_network: 32 };

/// Addresses that are taken and files that have been read, before anything else starts: a process that cannot have them
/// must not depose another.
pub(crate) struct Listeners {
    public: TcpListener,
    outlives_us: bool,
    admin: Option<TcpListener>,
    node: Option<TcpListener>,
    certificate: Option<Arc<Certificate>>,
    files: Option<Data<StaticFiles>>,
}

impl Listeners {
    /// Takes the addresses and reads the files that the settings name. `socket` has the public's address already.
    pub(crate) fn bind(
        socket: Option<TcpListener>,
        config: &ServerConfig,
        node: Option<&NodeConfig>,
    ) -> anyhow::Result<Self> {
        let cannot = |address| format!("cannot listen on {address}");
        let listen = |address| bind(address, config.backlog, false).with_context(|| cannot(address));
        let outlives_us = socket.is_some();
        let public = match socket {
            Some(socket) => adopt(socket),
            None => bind(config.listen, config.backlog, config.share_port),
        };
        let certificate = config.tls.as_ref().map(Certificate::load).transpose();
        let files = config.static_dir.as_deref().map(StaticFiles::open).transpose();
        Ok(Self {
            certificate: certificate.context("cannot serve over TLS")?,
            files: files.context("cannot serve a frontend")?.map(Data::new),
            public: public.with_context(|| cannot(config.listen))?,
            outlives_us,
            admin: config.admin_listen.map(listen).transpose()?,
            node: node.map(|node| listen(node.listen)).transpose()?,
        })
    }

    /// Where clients call.
    pub(crate) fn address(&self) -> std::io::Result<SocketAddr> {
        self.public.local_addr()
    }

    /// Whether somebody keeps the public socket when this process ends, so that connections may wait in its queue.
    pub(crate) const fn outlives_us(&self) -> bool {
        self.outlives_us
    }

    /// Where those who run the program look, if that is another address.
    pub(crate) fn admin_address(&self) -> std::io::Result<Option<SocketAddr>> {
        self.admin.as_ref().map(TcpListener::local_addr).transpose()
    }

    /// Where other nodes call, for the one who answers them.
    pub(crate) const fn take_node(&mut self) -> Option<TcpListener> {
        self.node.take()
    }

    /// The servers, which serve once they are polled. The public one comes first and is to be stopped first.
    pub(crate) fn serve(
        self,
        cors: &CorsConfig,
        state: &Data<AppState>,
        chance: &Data<dyn Chance>,
    ) -> anyhow::Result<Vec<Server>> {
        let Self { public, admin, certificate, files, .. } = self;
        let own_admin = admin.is_some();
        let mut servers =
            vec![public_server(cors, state, chance, (public, certificate), (files, own_admin))?];
        if let Some(listener) = admin {
            servers.push(admin_server(state, chance, listener)?);
        }
        Ok(servers)
    }
}

fn bind(address: SocketAddr, backlog: u32, is_shared: bool) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart must not wait for the last connections of its predecessor to be forgotten.
    socket.set_reuseaddr(true)?;
    #[cfg(unix)]
    socket.set_reuseport(is_shared)?;
    bound_unread(&SockRef::from(&socket))?;
    socket.bind(address)?;
    socket.listen(backlog)?.into_std()
}

/// Prepares a socket that listens already.
fn adopt(socket: TcpListener) -> std::io::Result<TcpListener> {
    bound_unread(&SockRef::from(&socket))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Every connection that is accepted inherits it.
fn bound_unread(socket: &SockRef<'_>) -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNREAD_TIMEOUT))?;
    Ok(())
}

fn public_server(
    cors: &CorsConfig,
    state: &Data<AppState>,
    chance: &Data<dyn Chance>,
    (listener, certificate): (TcpListener, Option<Arc<Certificate>>),
    (files, own_admin): (Option<Data<StaticFiles>>, bool),
) -> anyhow::Result<Server> {
    let config = &state.server;
    let (cors, chance) = (cors.clone(), chance.clone());
    let app_state = state.clone();
    let bounds = Bounds { max: config.connections_max, of_network: config.connections_of_network };
    let connections = Connections::new(bounds, config.trusted_proxies.clone());
    let server = HttpServer::new(move || {
        let files = files.clone();
        let rest = move |config: &mut ServiceConfig| routes::rest(config, files);
        let admin = |config: &mut ServiceConfig| {
            if !own_admin {
                routes::admin(config)
            }
        };
        App::new()
            .app_data(app_state.clone())
            .app_data(chance.clone())
            .configure(routes::all)
            .configure(routes::watch)
            .configure(admin)
            .configure(rest)
            .wrap(from_fn(guard::admit))
            .wrap(Condition::new(!cors.allowed_origins.is_empty(), policy(&cors)))
            .wrap(from_fn(telemetry::observe))
    });
    let server = server
        .workers(config.workers)
        .worker_max_blocking_threads(BLOCKING_THREADS)
        // Beyond what `connections` admits: a connection that is one too many is accepted and closed.
        .max_connections(config.connections_max.saturating_mul(2))
        .on_connect(move |connection, data| connections.accept(connection, data))
        .keep_alive(config.keep_alive)
        .tcp_nodelay(true)
        // A client that hangs up is not waited for, so that its question is not answered for nobody.
        .h1_allow_half_closed(false)
        .client_request_timeout(config.head_timeout)
        .tls_handshake_timeout(config.head_timeout)
        // Less than the whole stop may take: the rest is for what the engine has still to store.
        .shutdown_timeout((config.stop_timeout * 2 / 3).as_secs())
        .disable_signals();
    let server = match certificate {
        None => server.listen(listener)?,
        Some(certificate) => {
            let tls = certificate.server_config().context("cannot serve over TLS")?;
            certificate.renew_on_hangup()?;
            server.listen_rustls_0_23(listener, tls)?
        }
    };
    Ok(server.run())
}

/// For one or two who look now and then, on an address that the public does not reach.
fn admin_server(
    state: &Data<AppState>,
    chance: &Data<dyn Chance>,
    listener: TcpListener,
) -> std::io::Result<Server> {
    let (app_state, chance) = (state.clone(), chance.clone());
    let server = HttpServer::new(move || {
        App::new()
            .app_data(app_state.clone())
            .app_data(chance.clone())
            .configure(routes::watch)
            .configure(routes::admin)
            .configure(|config| routes::rest(config, None))
            .wrap(from_fn(guard::admit_admin))
            .wrap(from_fn(telemetry::observe))
    });
    let connections = Connections::new(ADMIN_CONNECTIONS, Vec::new());
    let server = server
        .workers(1)
        .on_connect(move |connection, data| connections.accept(connection, data))
        .client_request_timeout(state.server.head_timeout)
        .shutdown_timeout(1)
        .disable_signals()
        .listen(listener)?;
    Ok(server.run())
}

/// Which pages of other origins may call: those named, with the session cookie.
fn policy(config: &CorsConfig) -> Cors {
    let cors =
        config.allowed_origins.iter().fold(Cors::default(), |cors, origin| cors.allowed_origin(origin));
    cors.allowed_methods([Method::GET, Method::POST])
        .allowed_headers([ACCEPT, AUTHORIZATION, CONTENT_TYPE, IF_NONE_MATCH])
        .allowed_header("Idempotency-Key")
        .expose_headers(["X-Request-Id", "Retry-After", "ETag"])
        .supports_credentials()
        .max_age(3600)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[actix_web::test]
    async fn a_client_that_does_not_read_is_cut_off_by_the_system() {
        let listener = bind("127.0.0.1:0".parse().unwrap(), 1, false).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        listener.set_nonblocking(false).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert_eq!(SockRef::from(&accepted).tcp_user_timeout().unwrap(), Some(UNREAD_TIMEOUT));
    }
}
