package identity

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/semaphore"
)

// Guest is who may log in while there are no users.
const Guest = "guest"

// MaxManaged is how many users may be managed at run time.
const MaxManaged = 10_000

// maxWaiting is how many logins may wait for their turn to have a slow hash computed.
const maxWaiting = 1024

// Config says who may come in, and how.
type Config struct {
	Users    []User // of the configuration file. They cannot be changed at run time, and win where a managed one has the same name
	Issuers  []Issuer
	Lockout  int      // failed logins of one name from one address, after which there is none for a while; 0: never
	Loopback []string // users who may come in from the gateway's own machine only
	Subject  string   // what of a certificate names its user: see CertificateName; "": its common name
}

// Directory knows everybody. Its methods may be called from any goroutine.
type Directory struct {
	// immutable
	key     [32]byte // of sums of passwords, new in every process
	guard   *guard
	slow    *semaphore.Weighted // computes hashes that are slow
	waiting *semaphore.Weighted
	issuers *issuers

	mu        sync.RWMutex
	config    Config              // guarded by mu
	file      map[string]User     // guarded by mu: config's users by name
	managed   map[string]User     // guarded by mu
	accounts  map[string]*account // guarded by mu: who can log in now
	names     []string            // guarded by mu: of accounts, sorted
	byKey     map[string]*account // guarded by mu
	tokens    tokens              // guarded by mu
	anonymous *Live               // guarded by mu; nil: there are users
}

// NewDirectory makes one of a valid configuration.
func NewDirectory(cfg Config) (*Directory, error) {
	turns := int64(max(1, runtime.GOMAXPROCS(0)-1)) // one processor is left for those who are in
	d := &Directory{
		guard: newGuard(cfg.Lockout), slow: semaphore.NewWeighted(turns), waiting: semaphore.NewWeighted(maxWaiting), issuers: newIssuers(),
		managed: map[string]User{}, accounts: map[string]*account{}, byKey: map[string]*account{}, tokens: newTokens(),
	}
	_, _ = rand.Read(d.key[:]) // never fails
	return d, d.Configure(cfg)
}

// Login finds out who shows these credentials. Errors: ErrRefused, ErrFar, ErrBusy, LockedError, BadTokenError, and the context's.
func (d *Directory) Login(ctx context.Context, c Credentials) (*Live, error) {
	if len(c.User) > MaxName || len(c.Token) > MaxToken || len(c.Password) > MaxToken {
		return nil, ErrRefused
	}
	l, err := d.login(ctx, &c)
	if err != nil {
		return nil, err
	}
	if name := l.Identity().Name; c.far() && d.nearOnly(name) {
		return nil, ErrFar
	}
	return l, nil
}

func (d *Directory) login(ctx context.Context, c *Credentials) (*Live, error) {
	token := c.bearer()
	switch {
	case c.PublicKey != "":
		return d.byPublicKey(c.PublicKey)
	case strings.HasPrefix(token, TokenPrefix):
		return d.byToken(token, c.User)
	case token != "" && (c.Token != "" || d.issuers.some()):
		return d.issuers.login(ctx, token)
	case c.User != "" || c.Password != "":
		return d.byPassword(ctx, c)
	case c.Certificate != nil:
		return d.byCertificate(c.Certificate)
	case c.Anonymous:
		return d.nobody(c.Door)
	}
	return nil, ErrRefused
}

func (d *Directory) nearOnly(name string) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return slices.Contains(d.config.Loopback, name)
}

// nobody lets in who shows nothing, while there are no users. AMQP clients always show something.
func (d *Directory) nobody(door string) (*Live, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.anonymous == nil || door == "amqp" {
		return nil, ErrRefused
	}
	return d.anonymous, nil
}

func (d *Directory) byPublicKey(key string) (*Live, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if a := d.byKey[key]; a != nil {
		return a.keys[key], nil
	}
	return nil, ErrRefused
}

// byPassword takes as long whether or not the name exists, as far as that is in our hands.
func (d *Directory) byPassword(ctx context.Context, c *Credentials) (*Live, error) {
	if len(c.Password) > MaxPassword {
		return nil, ErrRefused
	}
	at, known := c.address()
	who := suspectOf(c.User, at)
	if known {
		if wait := d.guard.locked(who); wait > 0 {
			return nil, &LockedError{Wait: wait}
		}
	}
	a, real := d.find(c.User)
	right, err := d.verify(ctx, a, c.Password, real)
	switch {
	case err != nil:
		return nil, err
	case right && real:
		if known {
			if wait := d.guard.locked(who); wait > 0 { // by guesses that were made at the same time: else a lock would stop only who waits for each answer
				return nil, &LockedError{Wait: wait}
			}
			d.guard.passed(who)
		}
		return a.password, nil
	case known:
		d.guard.wait(ctx, d.guard.failed(who))
	}
	return nil, ErrRefused
}

// Has tells whether there is a user of that name.
func (d *Directory) Has(name string) bool {
	_, real := d.find(name)
	return real
}

// find returns the account of this name. If there is none it is another's, always the same one: it costs the time that the name would.
func (d *Directory) find(name string) (a *account, real bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if a = d.accounts[name]; a != nil || len(d.names) == 0 {
		return a, a != nil
	}
	sum := d.sum("name", name)
	return d.accounts[d.names[binary.BigEndian.Uint64(sum[:])%uint64(len(d.names))]], false
}

// sum is of a text of some kind, by a key that nobody knows.
func (d *Directory) sum(kind, text string) (out [sha256.Size]byte) {
	mac := hmac.New(sha256.New, d.key[:])
	mac.Write([]byte(kind + "\x00" + text))
	mac.Sum(out[:0])
	return out
}

// verify checks a password. Hashes that are made to be slow have their turn one after the other, and what was right is remembered.
func (d *Directory) verify(ctx context.Context, a *account, password string, real bool) (bool, error) {
	if a == nil {
		return false, nil
	}
	if !a.hash.slow() {
		return a.hash.verify(password), nil
	}
	sum := d.sum("password", password)
	if real && a.proven.right(sum) {
		return true, nil
	}
	if !d.waiting.TryAcquire(1) {
		return false, ErrBusy
	}
	defer d.waiting.Release(1)
	if err := d.slow.Acquire(ctx, 1); err != nil {
		return false, err
	}
	right := a.hash.verify(password)
	d.slow.Release(1)
	if right && real {
		a.proven.remember(sum)
	}
	return right, nil
}

// Open tells whether there are no users, so that whoever shows nothing is let in.
func (d *Directory) Open() bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.anonymous != nil
}
