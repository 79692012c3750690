package core

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"portico/core/audit"
	"portico/core/certs"
	"portico/core/identity"
	"portico/core/policy"

	"github.com/nats-io/nats-server/v2/server"
)

// The accounts of the embedded server. Clients log in to the tenant's only. It has two companions, tied to it by stream imports of everything:
//
//	what a door publishes:       LIVE ──> subscriptions of the tenant (clients, doors, streams)
//	what a client publishes:     tenant ──> subscriptions of the tenant
//	                             tenant ──> INGRESS, which feeds the queues
//
// So a live copy of what a door published never comes in again as if a client had sent it, on no node, and nothing a client says can
// pass for one; and interest in LIVE is exactly who listens, the gateway's ingress not among them.
const (
	accountSystem   = "SYS"
	accountInternal = "INTERNAL" // queue logs and tables
	accountTenant   = "PORTICO"  // of the default tenant; those of others begin with it, too (see accountsOf)
)

// bootPrefix begins the user names of the gateway's own connections, which log in with the boot password. What follows is the account.
const bootPrefix = "_portico."

const (
	serverReadyIn = 10 * time.Second
	controlLine   = 16 << 10         // bytes: two subjects of maxSubject and the sizes
	logEntry      = 1 << 20          // the largest entry of a queue log: it is independent of how large a message may be
	pendingBytes  = 64 << 20         // what may wait for a slow client before it is cut, at least
	jetstreamRAM  = 256 << 20        // for streams that clients keep in memory
	jetstreamDisk = int64(1) << 50   // none of our business: the disk alarm watches what is really free
	mqttAckWait   = 30 * time.Second // before a QoS 1 message is sent again
)

// embedded is the nats-server inside the gateway.
type embedded struct {
	*server.Server
	keepers   keepers                // the accounts that keep something
	jetstream server.JetStreamConfig // as it is in force
	natives   *natives
	password  string // of our own connections, new at every start
	natsAddr  string // "" when the door is closed
	mqttAddr  string
	own       *ownConns
	crowd     *crowd
	tenants   nativeTenants
}

// startServer starts the server and waits until its listeners are open and its streams recovered.
// failed is told when a stream could not be written; it must not block.
func startServer(cfg Config, dir *dataDir, who *identity.Directory, log *slog.Logger, failed func(error)) (*embedded, error) {
	name, err := dir.serverName()
	if err != nil {
		return nil, err
	}
	e := &embedded{password: rand.Text(), own: newOwnConns()}
	e.natives = newNatives(e)
	opts, err := serverOptions(cfg, dir, cmp.Or(cfg.ServerName, name))
	if err != nil {
		return nil, err
	}
	cfg.secure(opts, e.own)
	e.crowd = newCrowd(cfg.Gate, e)
	opts.CustomClientAuthentication = &gatekeeper{server: e, users: who, natives: e.natives, tenants: &e.tenants, natsOpen: cfg.NATSListen != off, mqttTLS: cfg.mqttTLS().Mode == certs.Required, crowd: e.crowd, audit: cfg.Audit}
	if e.Server, err = server.NewServer(opts); err != nil {
		return nil, fmt.Errorf("configure embedded server: %w", err)
	}
	bridge := &logBridge{log: log, failed: failed}
	e.SetLoggerV2(bridge, log.Enabled(context.Background(), slog.LevelDebug-4), false, false)
	if err := e.start(bridge); err != nil {
		e.stop()
		return nil, fmt.Errorf("start embedded server: %w", err)
	}
	return e, e.addresses(cfg, opts)
}

func serverOptions(cfg Config, dir *dataDir, name string) (*server.Options, error) {
	accounts, err := newAccounts()
	if err != nil {
		return nil, err
	}
	maxPayload := max(cfg.MaxMessage, logEntry) + headerRoom
	opts := &server.Options{
		ServerName: name, NoSigs: true, AlwaysEnableNonce: true, Host: "127.0.0.1", Port: server.RANDOM_PORT,
		Accounts: accounts, SystemAccount: accountSystem,
		MaxPayload: int32(maxPayload), MaxPending: max(pendingBytes, 4*int64(maxPayload)), MaxControlLine: controlLine,
		JetStream: true, StoreDir: dir.store(), JetStreamMaxMemory: jetstreamRAM, JetStreamMaxStore: jetstreamDisk, DisableJetStreamBanner: true,
	}
	if cfg.NATSListen != off {
		if opts.Host, opts.Port, err = listenAt("nats", cfg.NATSListen); err != nil {
			return nil, err
		}
	}
	if cfg.MQTTListen != off {
		if opts.MQTT.Host, opts.MQTT.Port, err = listenAt("mqtt", cfg.MQTTListen); err != nil {
			return nil, err
		}
		opts.MQTT.AckWait = mqttAckWait
	}
	return opts, nil
}

func (e *embedded) start(bridge *logBridge) error {
	e.Start()
	if err := bridge.failure(); err != nil {
		return err
	}
	if !e.ReadyForConnections(serverReadyIn) {
		return errors.New("not ready in time")
	}
	if err := e.enableAccounts(); err != nil {
		return err
	}
	if cfg := e.JetStreamConfig(); cfg != nil {
		e.jetstream = *cfg
	}
	return bridge.failure()
}

// addresses notes where the doors of the server are.
func (e *embedded) addresses(cfg Config, opts *server.Options) error {
	if cfg.NATSListen != off {
		e.natsAddr = e.Addr().String()
	}
	if cfg.MQTTListen != off {
		v, err := e.Varz(nil)
		if err != nil {
			return fmt.Errorf("ask for the MQTT address: %w", err)
		}
		e.mqttAddr = net.JoinHostPort(opts.MQTT.Host, strconv.Itoa(v.MQTT.Port))
	}
	return nil
}

// stop ends the server. Not lame duck mode: that stops JetStream first, while there may be acknowledgements in hand.
func (e *embedded) stop() {
	e.Shutdown()
	e.WaitForShutdown()
	e.natives.close()
}

// clients counts the connections of the NATS and MQTT doors, the gateway's own left out.
func (e *embedded) clients() (nats, mqtt int, err error) {
	const page = 1024
	for offset := 0; ; offset += page {
		list, err := e.Connz(&server.ConnzOptions{Username: true, Offset: offset, Limit: page})
		if err != nil {
			return 0, 0, fmt.Errorf("list connections: %w", err)
		}
		for _, c := range list.Conns {
			switch {
			case ownUser(c.AuthorizedUser):
			case c.MQTTClient != "":
				mqtt++
			default:
				nats++
			}
		}
		if offset+page >= list.Total {
			return nats, mqtt, nil
		}
	}
}

// gatekeeper is the server's authentication: the same users as at the other doors, and the gateway's own connections.
type gatekeeper struct {
	server   *embedded
	users    *identity.Directory
	natives  *natives
	tenants  *nativeTenants
	natsOpen bool
	mqttTLS  bool // plain MQTT connections are refused
	crowd    *crowd
	audit    *audit.Log // nil: none
}

// Check implements server.Authentication.
func (k *gatekeeper) Check(c server.ClientAuthentication) bool {
	if c.Kind() != server.CLIENT {
		return false
	}
	opts := c.GetOpts()
	if strings.HasPrefix(opts.Username, bootPrefix) {
		return k.admitOwn(c, opts.Username, opts.Password)
	}
	if mqtt := overMQTT(c); !mqtt && !k.natsOpen || mqtt && k.mqttTLS && c.GetTLSConnectionState() == nil {
		return false
	}
	tenant, user := splitTenant(opts.Username, k.users.Has)
	live, account, err := k.login(c, opts, tenant, user)
	if err != nil {
		return false
	}
	k.natives.add(c.GetID(), live)
	who := live.Identity()
	rules := who.Permissions.In(cmp.Or(tenant, who.Home())) // regular expressions are by tenant
	return k.admit(c, account, &server.User{Username: who.Name, Permissions: serverPermissions(rules, overMQTT(c)), ConnectionDeadline: live.Expires()})
}

func (k *gatekeeper) admit(c server.ClientAuthentication, account string, as *server.User) (ok bool) {
	var err error
	if as.Account, err = k.server.LookupAccount(account); err != nil {
		return false
	}
	c.RegisterUser(as)
	return true
}

// admitOwn lets the gateway's own connections in.
func (k *gatekeeper) admitOwn(c server.ClientAuthentication, name, password string) bool {
	if subtle.ConstantTimeCompare([]byte(password), []byte(k.server.password)) != 1 {
		return false
	}
	return k.admit(c, strings.TrimPrefix(name, bootPrefix), &server.User{Username: name})
}

// overMQTT tells an MQTT client from a NATS client by the name the server's log gives it: "… - mid:7".
func overMQTT(c server.ClientAuthentication) bool {
	named, ok := c.(fmt.Stringer)
	return ok && strings.Contains(named.String(), " - mid")
}

// serverPermissions are a policy as the server understands it. Inboxes are always allowed, as they are on the Bus.
func serverPermissions(p *policy.Policy, overMQTT bool) *server.Permissions {
	n := p.Native()
	if n == nil {
		return nil
	}
	out := &server.Permissions{Publish: serverLists(n.Publish, overMQTT), Subscribe: serverLists(n.Subscribe, overMQTT)}
	if out.Publish != nil { // whoever was asked may answer, whatever the reply subject
		out.Response = &server.ResponsePermission{MaxMsgs: server.DEFAULT_ALLOW_RESPONSE_MAX_MSGS, Expires: server.DEFAULT_ALLOW_RESPONSE_EXPIRATION}
	}
	return out
}

func serverLists(l policy.Lists, overMQTT bool) *server.SubjectPermission {
	if l.Allow == nil && len(l.Deny) == 0 {
		return nil
	}
	if overMQTT { // what the server itself brings MQTT clients their messages by; they have no other way to it
		l.Deny = slices.DeleteFunc(slices.Clone(l.Deny), func(p string) bool { return p == "$MQTT.>" })
	}
	return &server.SubjectPermission{Allow: l.Allow, Deny: l.Deny}
}
