package amqp

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"strings"
	"time"

	"portico/adapters/amqp/wire"
	"portico/core"
	"portico/core/certs"
)

// errBadHeader is told to a peer that does not speak AMQP 0-9-1 by answering with the header that is spoken here.
var errBadHeader = errors.New("not an AMQP 0-9-1 protocol header")

// errRefused ends a login whose client has not asked to be told.
var errRefused = errors.New("login refused")

// handshake takes the connection from the protocol header to connection.open-ok [0-9-1 2.2.4]. The writer does not run yet.
func (c *conn) handshake() error {
	deadline := time.Now().Add(c.adapter.cfg.HandshakeTimeout)
	_ = c.net.SetDeadline(deadline)
	if err := c.protocolHeader(); err != nil {
		return err
	}
	if err := c.authenticate(); err != nil {
		return err
	}
	if err := c.tune(); err != nil {
		return err
	}
	if err := c.enter(); err != nil {
		return err
	}
	_ = c.net.SetDeadline(time.Time{})
	c.socket.expectWithin(2 * c.heartbeat)
	if c.isStopping() {
		c.socket.interrupt() // the deadline just lifted may have been the interruption
	}
	return nil
}

func (c *conn) isStopping() bool {
	select {
	case <-c.stopping:
		return true
	default:
		return false
	}
}

// header090 is the header of 0-9, spoken alike.
var header090 = [8]byte{'A', 'M', 'Q', 'P', 1, 1, 0, 9}

func (c *conn) protocolHeader() error {
	h, err := c.in.ReadProtocolHeader()
	if err != nil {
		return err
	}
	if h == wire.ProtocolHeader || h == header090 {
		return nil
	}
	switch {
	case bytes.HasPrefix(h[:], []byte("GET ")), bytes.HasPrefix(h[:], []byte("POST")):
		c.log.Info("an HTTP request came to the AMQP port")
	case h[0] == 22 && h[1] == 3:
		c.log.Info("a TLS client came to the plain AMQP port")
	}
	return errBadHeader
}

// sendNow writes one method at once.
func (c *conn) sendNow(m wire.Method) error {
	b := c.out.begin()
	c.out.end(wire.AppendMethod(b, 0, m))
	buf, _ := c.out.take()
	if buf == nil {
		return nil
	}
	_, err := c.net.Write(buf.b)
	c.out.written(buf)
	return err
}

// expect reads the next method of the handshake, which must be an M.
func expect[M wire.Method](c *conn, state string) (M, error) {
	var none M
	for {
		f, err := c.in.ReadFrame()
		if err != nil {
			_, c.broken = errors.AsType[*wire.ConnError](err)
			return none, err
		}
		if f.Type == wire.FrameHeartbeat && f.Channel == 0 {
			continue
		}
		if f.Type != wire.FrameMethod || f.Channel != 0 {
			return none, wire.ConnErrorf(wire.UnexpectedFrame, "%s frame on channel %d in connection state %s", f.Type, f.Channel, state)
		}
		m, err := wire.DecodeMethod(f.Payload)
		if err != nil {
			return none, err
		}
		if m, ok := m.(M); ok {
			return m, nil
		}
		if m.ID() == wire.IDConnectionClose {
			return none, errClientClosed
		}
		return none, wire.ConnErrorf(wire.ChannelError, "unexpected method in connection state %s", state).At(m.ID())
	}
}

// authenticate sends connection.start and checks the answer.
func (c *conn) authenticate() error {
	start := &wire.ConnectionStart{
		VersionMajor: 0, VersionMinor: 9, ServerProperties: c.adapter.serverProperties(),
		Mechanisms: c.mechanisms(), Locales: "en_US",
	}
	if err := c.sendNow(start); err != nil {
		return err
	}
	m, err := expect[*wire.ConnectionStartOk](c, "starting")
	if err != nil {
		return err
	}
	c.can, c.client, c.mechanism = clientCapabilities(m.ClientProperties), m.ClientProperties, m.Mechanism
	shown, err := c.credentials(m.Mechanism, m.Response)
	if err != nil {
		return err
	}
	if name, ok := m.ClientProperties["connection_name"].(string); ok {
		c.log = c.log.With("connection", name)
	}
	return c.login(shown, m.Mechanism)
}

func (c *conn) login(shown core.Credentials, mechanism string) error {
	ctx, cancel := context.WithTimeout(context.Background(), c.adapter.cfg.HandshakeTimeout)
	defer cancel()
	bus, err := c.adapter.gateway.Login(ctx, shown)
	if err == nil {
		c.bus, c.user = bus, bus.User()
		return nil
	}
	if core.AsError(err).Code != core.CodeUnauthenticated {
		return protocolError(err)
	}
	c.log.Warn("login refused", "user", shown.User, "mechanism", mechanism)
	if !c.can.authClose {
		return errRefused
	}
	return wire.ConnErrorf(wire.AccessRefused,
		"Login was refused using authentication mechanism %s. For details see the broker logfile.", mechanism)
}

// certificate is the client's, nil if it has shown none.
func (c *conn) certificate() *x509.Certificate {
	return certs.ClientCertificate(certs.ConnState(c.net))
}

// mechanisms are the ways to log in. EXTERNAL is one only for whoever has a certificate [RMQ: auth mechanism ssl].
func (c *conn) mechanisms() string {
	if c.certificate() != nil {
		return "PLAIN AMQPLAIN EXTERNAL"
	}
	return "PLAIN AMQPLAIN"
}

// credentials are what a SASL response shows. The password may be a token, as RabbitMQ's OAuth plug-in takes it.
func (c *conn) credentials(mechanism, response string) (core.Credentials, error) {
	shown := core.Credentials{Door: "amqp", Remote: c.net.RemoteAddr().String()}
	if mechanism == "EXTERNAL" {
		if shown.Certificate = c.certificate(); shown.Certificate != nil {
			shown.Anonymous = true
			return shown, nil
		}
	}
	var err error
	shown.User, shown.Password, err = password(mechanism, response)
	return shown, err
}

// password reads a SASL response: PLAIN (RFC 4616), or AMQPLAIN, a table without its length.
func password(mechanism, response string) (user, password string, err error) {
	switch mechanism {
	case "PLAIN":
		parts := strings.SplitN(response, "\x00", 3)
		if len(parts) != 3 {
			return "", "", wire.ConnErrorf(wire.SyntaxError, "malformed PLAIN response")
		}
		return parts[1], parts[2], nil
	case "AMQPLAIN":
		t, err := wire.DecodeTableEntries([]byte(response))
		if err != nil {
			return "", "", err
		}
		user, isUser := t["LOGIN"].(string)
		password, isPassword := t["PASSWORD"].(string)
		if !isUser || !isPassword {
			return "", "", wire.ConnErrorf(wire.SyntaxError, "AMQPLAIN auth info needs LOGIN and PASSWORD")
		}
		return user, password, nil
	}
	return "", "", wire.ConnErrorf(wire.CommandInvalid, "unknown authentication mechanism '%s'", mechanism)
}

// tune offers the limits and takes what the client chose.
func (c *conn) tune() error {
	cfg := c.adapter.cfg
	offer := &wire.ConnectionTune{ChannelMax: cfg.ChannelMax, FrameMax: cfg.FrameMax, Heartbeat: uint16(cfg.Heartbeat / time.Second)}
	if err := c.sendNow(offer); err != nil {
		return err
	}
	m, err := expect[*wire.ConnectionTuneOk](c, "tuning")
	if err != nil {
		return err
	}
	if err := tuned("channel_max", uint32(m.ChannelMax), uint32(offer.ChannelMax), 1); err != nil {
		return err
	}
	if err := tuned("frame_max", m.FrameMax, offer.FrameMax, wire.FrameMinSize); err != nil {
		return err
	}
	c.channelMax, c.frameMax = m.ChannelMax, m.FrameMax
	c.heartbeat = time.Duration(m.Heartbeat) * time.Second
	c.in.SetMax(c.frameMax)
	return nil
}

// tuned checks a limit of tune-ok: 0 means "no limit" and so is above any offer.
func tuned(what string, chosen, offered, least uint32) error {
	switch {
	case chosen == 0 || chosen > offered:
		return wire.ConnErrorf(wire.NotAllowed, "negotiated %s = %d is higher than the maximum allowed value (%d)", what, chosen, offered)
	case chosen < least:
		return wire.ConnErrorf(wire.NotAllowed, "negotiated %s = %d is lower than the minimum allowed value (%d)", what, chosen, least)
	}
	return nil
}

// enter answers connection.open: the virtual host is the tenant of that name.
func (c *conn) enter() error {
	m, err := expect[*wire.ConnectionOpen](c, "opening")
	if err != nil {
		return err
	}
	if err := c.join(m.VirtualHost); err != nil {
		return err.At(m.ID())
	}
	c.opened.Store(time.Now().UnixMilli()) // before the client knows: who looks then finds it listed
	return c.sendNow(&wire.ConnectionOpenOk{})
}

// join makes the connection one of a virtual host, if whoever it is may be there and there is room for one more [RMQ: connection.open].
func (c *conn) join(name string) *wire.ConnError {
	bus, err := c.bus.Enter(name)
	switch code := core.AsError(err).Code; {
	case err != nil && code == core.CodeNotFound:
		return wire.ConnErrorf(wire.NotAllowed, "vhost %s not found", name)
	case err != nil:
		return wire.ConnErrorf(wire.NotAllowed, "access to vhost '%s' refused for user '%s'", name, c.user)
	}
	if c.vhost = c.adapter.vhosts.get(name); c.vhost == nil {
		return wire.ConnErrorf(wire.NotAllowed, "vhost %s not found", name)
	}
	if c.leave, err = bus.Connect(); err != nil {
		return wire.ConnErrorf(wire.NotAllowed, "access to vhost '%s' refused for user '%s': connection limit is reached", name, c.user)
	}
	c.bus = bus
	return nil
}

// updateSecret logs the same user in again with a new password [RMQ: connection.update-secret].
func (c *conn) updateSecret(m *wire.ConnectionUpdateSecret) error {
	ctx, cancel := context.WithTimeout(context.Background(), c.adapter.cfg.HandshakeTimeout)
	defer cancel()
	bus, err := c.adapter.gateway.Login(ctx, core.Credentials{Door: "amqp", Remote: c.net.RemoteAddr().String(), User: c.user, Password: m.NewSecret})
	if err != nil || bus.User() != c.user {
		return wire.ConnErrorf(wire.NotAllowed, "New secret was refused by one of the backends").At(m.ID())
	}
	if bus, err = bus.Enter(c.vhost.name); err != nil {
		return wire.ConnErrorf(wire.NotAllowed, "New secret was refused by one of the backends").At(m.ID())
	}
	c.unfollow()
	c.bus = bus
	c.follow(bus)
	c.routes.forget()
	c.send(0, &wire.ConnectionUpdateSecretOk{})
	return nil
}

// follow ends the connection when what its client has shown is good no longer: it has until then to show something newer by update-secret.
func (c *conn) follow(bus *core.Bus) {
	c.unfollow = bus.AfterEnd(func() { c.shutdown(time.Now().Add(closeTimeout), "") })
}

// refuse ends a connection whose handshake failed, as far as its state allows with a reason.
func (c *conn) refuse(err error) {
	_ = c.net.SetDeadline(time.Now().Add(closeTimeout))
	switch e, isConnError := errors.AsType[*wire.ConnError](err); {
	case errors.Is(err, errBadHeader):
		_, _ = c.net.Write(wire.ProtocolHeader[:])
		linger(c.net)
	case isConnError:
		_ = c.sendNow(connectionClose(e))
		c.awaitCloseOk(time.Now().Add(closeTimeout))
		linger(c.net)
	case errors.Is(err, errClientClosed):
		_ = c.sendNow(&wire.ConnectionCloseOk{})
		linger(c.net)
	}
	c.log.Info("handshake failed", "error", err)
}

func clientCapabilities(properties wire.Table) capabilities {
	t, _ := properties["capabilities"].(wire.Table)
	has := func(name string) bool { yes, _ := t[name].(bool); return yes }
	return capabilities{
		cancelNotify: has("consumer_cancel_notify"),
		blocked:      has("connection.blocked"),
		authClose:    has("authentication_failure_close"),
	}
}

// serverProperties say whose protocol this is and, in platform and information, who speaks it.
func (a *Adapter) serverProperties() wire.Table {
	return wire.Table{
		"capabilities": wire.Table{
			"publisher_confirms": true, "exchange_exchange_bindings": true, "basic.nack": true,
			"consumer_cancel_notify": true, "connection.blocked": true, "authentication_failure_close": true,
			"consumer_priorities": true, "per_consumer_qos": true, "direct_reply_to": true,
		},
		"product": a.cfg.Product, "version": a.cfg.Version, "cluster_name": clusterName,
		"platform":    "Portico (Go)",
		"information": "Portico, a messaging gateway, speaking AMQP 0-9-1 as RabbitMQ 3.13 does. It is not RabbitMQ.",
		"copyright":   "Portico is licensed under the Apache License 2.0",
	}
}
