package core

import (
	"context"
	"encoding/base64"
	"errors"
	"sync"
	"time"

	"portico/core/certs"
	"portico/core/identity"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

// nativeLoginTime is how long a NATS or MQTT client may have to wait for its login; the server itself ends those that have not logged in after two seconds.
const nativeLoginTime = 1900 * time.Millisecond

// login finds out who a NATS or MQTT client is: by user and password, a token in the place of either (of the gateway's own or an issuer's), an NKey, or a client certificate.
// The account is that of the tenant it comes into.
func (k *gatekeeper) login(c server.ClientAuthentication, opts *server.ClientOpts, tenant, user string) (live *identity.Live, account string, err error) {
	shown := identity.Credentials{Door: "nats", Tenant: tenant, User: user, Password: opts.Password, Token: opts.Token, Certificate: certs.ClientCertificate(c.GetTLSConnectionState())}
	at := ""
	if address := c.RemoteAddress(); address != nil {
		at = address.String()
		shown.Remote = k.server.own.behind(at)
	}
	switch {
	case overMQTT(c): // the server has put the password there, too
		shown.Door, shown.Token = "mqtt", ""
	case shown.Token == "":
		shown.Token = opts.JWT
	}
	if opts.Nkey != "" {
		if !signed(opts.Nkey, opts.Sig, c.GetNonce()) {
			return nil, "", identity.ErrRefused
		}
		shown.PublicKey = opts.Nkey
	}
	shown.Anonymous = shown.User == "" && shown.Password == "" && shown.Token == "" && shown.PublicKey == ""
	ctx, cancel := context.WithTimeout(context.Background(), nativeLoginTime)
	defer cancel()
	live, err = k.users.Login(ctx, shown)
	if err == nil && ownUser(live.Identity().Name) { // an issuer may call its users whatever it likes
		err = identity.ErrRefused
	}
	if err == nil {
		account, err = k.tenants.account(live.Identity(), tenant)
	}
	if err == nil {
		err = k.crowd.enter(c.GetID(), at, live.Identity().Name)
	}
	recordLogin(k.audit, &shown, live, err)
	return live, account, err
}

// signed tells whether the holder of an NKey has signed the nonce that this connection was sent.
func signed(key, signature string, nonce []byte) bool {
	sig, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil {
		sig, err = base64.StdEncoding.DecodeString(signature)
	}
	if err != nil || len(nonce) == 0 {
		return false
	}
	public, err := nkeys.FromPublicKey(key)
	return err == nil && public.Verify(nonce, sig) == nil
}

// natives are the NATS and MQTT clients that are in, by what they came in by: the server has no way to tell it that a login is good no longer.
type natives struct {
	server *embedded // immutable

	mu   sync.Mutex
	in   map[uint64]*identity.Live   // guarded by mu
	by   map[*identity.Live]struct{} // guarded by mu: those that are watched
	most int                         // guarded by mu: so many in are looked through for those that have left
	done bool                        // guarded by mu
	stop chan struct{}               // closed by close
	wait sync.WaitGroup
}

// leastSwept is how many clients are noted before it is looked who has left.
const leastSwept = 256

func newNatives(e *embedded) *natives {
	return &natives{server: e, in: map[uint64]*identity.Live{}, by: map[*identity.Live]struct{}{}, most: leastSwept, stop: make(chan struct{})}
}

// add notes a client. It must be called before the client gets its permissions.
func (n *natives) add(id uint64, live *identity.Live) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.done {
		return
	}
	n.in[id] = live
	if _, watched := n.by[live]; !watched {
		n.by[live] = struct{}{}
		changed := live.Changed() // now: who asks add before Identity misses no change
		n.wait.Go(func() { n.watch(live, changed) })
	}
	if len(n.in) >= n.most {
		n.sweep()
		n.most = max(leastSwept, 2*len(n.in))
	}
}

// sweep forgets those that have left; mu is held.
func (n *natives) sweep() {
	for id := range n.in {
		if n.server.GetClient(id) == nil {
			delete(n.in, id)
		}
	}
}

// watch ends the clients of a login when that is good no longer, and those whose permissions have changed: they come back by themselves, with the new ones.
func (n *natives) watch(live *identity.Live, changed <-chan struct{}) {
	for {
		select {
		case <-changed:
			changed = live.Changed()
			n.cut(live, false)
		case <-live.Ended():
			n.grace(live)
			n.cut(live, true)
			return
		case <-n.stop:
			return
		}
	}
}

// expiryGrace is how long the server has to end clients whose time is over by itself: it knows when that is, and tells them.
const expiryGrace = time.Second

func (n *natives) grace(live *identity.Live) {
	if !errors.Is(live.Err(), identity.ErrExpired) {
		return
	}
	timer := time.NewTimer(expiryGrace)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-n.stop:
	}
}

// cut ends the clients of a login. Who comes later is watched anew if this was the last.
func (n *natives) cut(live *identity.Live, last bool) {
	n.mu.Lock()
	var ids []uint64
	for id, by := range n.in {
		if by == live {
			ids = append(ids, id)
			delete(n.in, id)
		}
	}
	if last {
		delete(n.by, live)
	}
	n.mu.Unlock()
	for _, id := range ids {
		_ = n.server.DisconnectClientByID(id) // it may have left
	}
}

func (n *natives) close() {
	n.mu.Lock()
	if !n.done {
		n.done = true
		close(n.stop)
	}
	n.mu.Unlock()
	n.wait.Wait()
}
