//! From the protocol header to connection.open-ok, and what else comes on channel 0.
//!
//! Passwords and vhosts are not judged here.

use super::*;
use crate::codec::frame::{PROTOCOL_HEADER, PROTOCOL_HEADER_0_9};

impl<L> Connection<L> {
    /// Reads the protocol header; returns how much of the input is done with. Another header is answered with the one
    /// that is spoken here, and the end.
    pub(super) fn read_header(&mut self, input: &[u8], out: &mut impl Outgoing) -> Option<usize> {
        let known = [PROTOCOL_HEADER, PROTOCOL_HEADER_0_9];
        let Some(header) = input.first_chunk::<8>() else {
            if known.iter().any(|known| known.starts_with(input)) {
                return None;
            }
            return Some(self.refuse_header(input, out));
        };
        if !known.contains(header) {
            return Some(self.refuse_header(input, out));
        }
        let properties = peer::server_properties(&self.config.cluster_name);
        let start = ConnectionStart {
            version_major: 0,
            version_minor: 9,
            server_properties: properties.as_table(),
            mechanisms: login::MECHANISMS.as_bytes(),
            locales: b"en_US",
        };
        writer::method(out, 0, &start);
        self.state = State::Start;
        Some(header.len())
    }

    fn refuse_header(&mut self, input: &[u8], out: &mut impl Outgoing) -> usize {
        out.append(|out| out.extend_from_slice(&PROTOCOL_HEADER));
        let seen = match input {
            [b'G' | b'P' | b'H' | b'D' | b'O', ..] => "perhaps HTTP",
            [0x16, ..] => "perhaps TLS",
            _ => "unknown",
        };
        let text = format!("the protocol header is not AMQP 0-9-1 ({seen})");
        self.fault = Some(Fault::new(ReplyCode::FrameError, MethodId::NONE, text));
        self.finish();
        input.len()
    }

    pub(super) fn handle_connection_frame(
        &mut self,
        frame: Frame<'_>,
        out: &mut impl Outgoing,
    ) -> Result<Todo<L>, Fault> {
        match frame.kind {
            FrameKind::Heartbeat => return Ok(Todo::Nothing),
            FrameKind::Method => {}
            FrameKind::Header | FrameKind::Body => {
                let text = "content on channel 0";
                return Err(Fault::new(ReplyCode::UnexpectedFrame, MethodId::NONE, text));
            }
        }
        let method = Method::read(frame.payload).map_err(unreadable)?;
        match (self.state, method) {
            (State::Start, Method::ConnectionStartOk(method)) => self.start_ok(&method),
            (State::Tune, Method::ConnectionTuneOk(method)) => self.tune_ok(&method),
            (State::Open, Method::ConnectionOpen(method)) => {
                self.state = State::Opening;
                Ok(Todo::OpenVhost(method.virtual_host.to_owned()))
            }
            (State::Running, Method::ConnectionUpdateSecret(_)) => {
                // Rights are looked up whenever they are used, so there is nothing to check again.
                writer::method(out, 0, &ConnectionUpdateSecretOk);
                Ok(Todo::Nothing)
            }
            (State::Running, Method::ConnectionClose(_)) => {
                self.state = State::Finishing;
                self.heartbeat = Heartbeat::off();
                self.end_channels();
                Ok(Todo::Close)
            }
            // Nothing is owned before open, so nothing has to be undone.
            (_, Method::ConnectionClose(_)) => {
                writer::method(out, 0, &ConnectionCloseOk);
                self.finish();
                Ok(Todo::Nothing)
            }
            (_, other) if other.id().class != ConnectionClose::ID.class || other.id().is_servers_alone() => {
                Err(misplaced(other.id()))
            }
            (_, other) => Err(Fault::new(
                ReplyCode::ChannelError,
                other.id(),
                format!("{} does not come at this point", other.id()),
            )),
        }
    }

    fn start_ok(&mut self, method: &ConnectionStartOk<'_>) -> Result<Todo<L>, Fault> {
        self.client = Client::read(method.client_properties);
        self.terms.cancel_notify = self.client.capabilities.consumer_cancel_notify;
        let login = login::read(method)?;
        self.state = State::LoggingIn;
        Ok(Todo::Login(login))
    }

    pub(super) fn finish_login(&mut self, result: Result<(), Refusal>, out: &mut impl Outgoing) {
        let Err(refusal) = result else {
            let tune = ConnectionTune {
                channel_max: self.config.channel_count_max,
                frame_max: self.config.frame_bytes_max,
                heartbeat: self.config.heartbeat_seconds,
            };
            writer::method(out, 0, &tune);
            self.state = State::Tune;
            return;
        };
        let fault = refusal.of(ConnectionStartOk::ID);
        if self.client.capabilities.authentication_failure_close {
            return self.die(fault, out);
        }
        self.state = State::Refused;
        self.until = Some(self.now + Duration::from_secs(REFUSED_LOGIN_SECONDS));
        self.fault = Some(fault);
    }

    fn tune_ok(&mut self, method: &ConnectionTuneOk) -> Result<Todo<L>, Fault> {
        let ConnectionTuneOk { channel_max, frame_max, heartbeat } = *method;
        check_tuned("channel_max", channel_max.into(), 1, self.config.channel_count_max.into())?;
        check_tuned("frame_max", frame_max, FRAME_BYTES_MIN, self.config.frame_bytes_max)?;
        self.channel_count_max = channel_max;
        self.terms.frame_bytes_max = frame_max;
        self.limits = FrameLimits::tuned(frame_max);
        self.heartbeat.start(self.now, heartbeat);
        self.state = State::Open;
        Ok(Todo::Nothing)
    }

    pub(super) fn finish_open(&mut self, result: Result<(), Refusal>, out: &mut impl Outgoing) {
        match result {
            Ok(()) => {
                writer::method(out, 0, &ConnectionOpenOk);
                self.state = State::Running;
                self.until = None;
            }
            Err(refusal) => self.die(refusal.of(ConnectionOpen::ID), out),
        }
    }
}

/// Zero means no limit, which the server does not offer.
fn check_tuned(what: &str, value: u32, min: u32, max: u32) -> Result<(), Fault> {
    if value == 0 || value > max {
        let shown = if value == 0 { "0 (no limit)".to_owned() } else { value.to_string() };
        let text = format!("negotiated {what} = {shown} is higher than the maximum allowed value ({max})");
        return Err(Fault::new(ReplyCode::NotAllowed, ConnectionTuneOk::ID, text));
    }
    if value < min {
        let text = format!("negotiated {what} = {value} is lower than the minimum allowed value ({min})");
        return Err(Fault::new(ReplyCode::NotAllowed, ConnectionTuneOk::ID, text));
    }
    Ok(())
}
