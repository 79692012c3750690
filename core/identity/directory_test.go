package identity

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/core/policy"

	"golang.org/x/crypto/bcrypt"
)

func directory(t testing.TB, cfg Config) *Directory {
	t.Helper()
	d, err := NewDirectory(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func bcrypted(t testing.TB, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

func mustLogin(t testing.TB, d *Directory, c Credentials) *Live {
	t.Helper()
	l, err := d.Login(t.Context(), c)
	if err != nil {
		t.Fatalf("login of %q: %v", c.User, err)
	}
	return l
}

func refused(t testing.TB, d *Directory, c Credentials, want error) {
	t.Helper()
	if _, err := d.Login(t.Context(), c); !errors.Is(err, want) {
		t.Errorf("login of %q: %v, want %v", c.User, err, want)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhileThereAreNoUsers(t *testing.T) {
	d := directory(t, Config{Loopback: []string{Guest}})
	guest := mustLogin(t, d, Credentials{User: Guest, Password: Guest, Remote: "127.0.0.1:1"})
	nobody := mustLogin(t, d, Credentials{Door: "http", Anonymous: true})
	refused(t, d, Credentials{Door: "amqp", Anonymous: true}, ErrRefused)
	refused(t, d, Credentials{User: Guest, Password: Guest, Remote: "192.0.2.7:1"}, ErrFar)
	must(t, d.Put(User{Name: "ann", PasswordHash: bcrypted(t, "a")}))
	closes(t, "guest", guest.Ended())
	closes(t, "nobody", nobody.Ended())
	refused(t, d, Credentials{User: Guest, Password: Guest}, ErrRefused)
	refused(t, d, Credentials{Door: "http", Anonymous: true}, ErrRefused)
	ann := mustLogin(t, d, Credentials{User: "ann", Password: "a"})
	d.Forget("ann")
	closes(t, "ann", ann.Ended())
	mustLogin(t, d, Credentials{User: Guest, Password: Guest})
	if l := mustLogin(t, d, Credentials{Door: "http", Anonymous: true}); l.Err() != nil {
		t.Error(l.Err())
	}
}

func TestGuestOfTheConfigurationIsNearOnlyToo(t *testing.T) {
	cfg := Config{Users: []User{{Name: Guest, Password: "x"}, {Name: "ann", Password: "x"}}, Loopback: []string{Guest}}
	d := directory(t, cfg)
	for name, c := range map[string]struct {
		user, remote string
		want         error
	}{
		"here":                 {Guest, "127.0.0.1:5", nil},
		"here by IPv6":         {Guest, "[::1]:5", nil},
		"here, mapped":         {Guest, "[::ffff:127.0.0.1]:5", nil},
		"elsewhere":            {Guest, "198.51.100.3:5", ErrFar},
		"elsewhere by IPv6":    {Guest, "[2001:db8::1%eth0]:5", ErrFar},
		"nobody knows where":   {Guest, "", nil},
		"elsewhere, not guest": {"ann", "198.51.100.3:5", nil},
	} {
		if _, err := d.Login(t.Context(), Credentials{User: c.user, Password: "x", Remote: c.remote}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	cfg.Loopback = nil
	must(t, d.Configure(cfg))
	mustLogin(t, d, Credentials{User: Guest, Password: "x", Remote: "198.51.100.3:5"})
}

func TestAUsersEndAndChange(t *testing.T) {
	d := directory(t, Config{Users: []User{{Name: "root", Password: "r"}}})
	hash := bcrypted(t, "a")
	must(t, d.Put(User{Name: "ann", PasswordHash: hash, Keys: []string{key("A")}}))
	token, secret := NewToken("ann", "", time.Time{})
	must(t, d.PutToken(token))
	in := func() map[string]*Live {
		return map[string]*Live{
			"password": mustLogin(t, d, Credentials{User: "ann", Password: "a"}),
			"token":    mustLogin(t, d, Credentials{Token: secret}),
			"key":      mustLogin(t, d, Credentials{PublicKey: key("A")}),
		}
	}
	for name, c := range map[string]struct {
		change func() error
		ends   []string
		why    error
	}{
		"the same again": {func() error { return d.Put(User{Name: "ann", PasswordHash: hash, Keys: []string{key("A")}}) }, nil, nil},
		"permissions": {func() error {
			return d.Put(User{Name: "ann", PasswordHash: hash, Keys: []string{key("A")}, Publish: []string{"a.>"}})
		}, nil, nil},
		"another password": {func() error {
			return d.Put(User{Name: "ann", PasswordHash: bcrypted(t, "b"), Keys: []string{key("A")}})
		}, []string{"password"}, ErrChanged},
		"another key": {func() error { return d.Put(User{Name: "ann", PasswordHash: hash, Keys: []string{key("B")}}) }, []string{"key"}, ErrChanged},
		"disabled": {func() error {
			return d.Put(User{Name: "ann", PasswordHash: hash, Keys: []string{key("A")}, Disabled: true})
		}, []string{"password", "token", "key"}, ErrGone},
		"deleted":       {func() error { d.Forget("ann"); return nil }, []string{"password", "token", "key"}, ErrGone},
		"token revoked": {func() error { d.ForgetToken(token.ID); return nil }, []string{"token"}, ErrRevoked},
		"hidden by the configuration's": {func() error {
			return d.Configure(Config{Users: []User{{Name: "root", Password: "r"}, {Name: "ann", Password: "other"}}})
		}, []string{"password", "key"}, ErrChanged},
	} {
		t.Run(name, func(t *testing.T) {
			must(t, d.Configure(Config{Users: []User{{Name: "root", Password: "r"}}}))
			must(t, d.Put(User{Name: "ann", PasswordHash: hash, Keys: []string{key("A")}}))
			must(t, d.PutToken(token))
			before := in()
			must(t, c.change())
			for by, l := range before {
				if slices.Contains(c.ends, by) {
					closes(t, by, l.Ended())
					if !errors.Is(l.Err(), c.why) {
						t.Errorf("%s: %v", by, l.Err())
					}
				} else if l.Err() != nil {
					t.Errorf("%s has ended: %v", by, l.Err())
				}
			}
		})
	}
}

// key is the form of a public NKey.
func key(letter string) string { return "U" + strings.Repeat(letter, 55) }

func TestPermissionsFollow(t *testing.T) {
	d := directory(t, Config{Users: []User{{Name: "ann", Password: "a", Publish: []string{"x"}}}})
	l := mustLogin(t, d, Credentials{User: "ann", Password: "a"})
	changed := l.Changed()
	decide := func(subject string) bool {
		return l.Identity().Permissions.Decide(policy.Publish, policy.Resource{Name: subject}).Allowed
	}
	if !decide("x") || decide("y") {
		t.Errorf("x %v, y %v", decide("x"), decide("y"))
	}
	must(t, d.Configure(Config{Users: []User{{Name: "ann", Password: "a", Publish: []string{"y"}}}}))
	closes(t, "changed", changed)
	if decide("x") || !decide("y") || l.Err() != nil {
		t.Errorf("x %v, y %v, %v", decide("x"), decide("y"), l.Err())
	}
}

func TestABadConfigurationChangesNothing(t *testing.T) {
	d := directory(t, Config{Users: []User{{Name: "ann", Password: "a"}}})
	l := mustLogin(t, d, Credentials{User: "ann", Password: "a"})
	for name, users := range map[string][]User{
		"no name":        {{Password: "x"}},
		"twice":          {{Name: "x", Password: "x"}, {Name: "x", Password: "x"}},
		"no credentials": {{Name: "x"}},
		"both":           {{Name: "x", Password: "x", PasswordHash: bcrypted(t, "x")}},
		"no hash":        {{Name: "x", PasswordHash: "x"}},
		"no pattern":     {{Name: "x", Password: "x", Publish: []string{"a..b"}}},
		"no nkey":        {{Name: "x", Keys: []string{"SUAB"}}},
		"one nkey twice": {{Name: "x", Keys: []string{key("A")}}, {Name: "y", Keys: []string{key("A")}}},
		"control":        {{Name: "x\n", Password: "x"}},
	} {
		if err := d.Configure(Config{Users: users}); err == nil {
			t.Errorf("%s: taken", name)
		} else if strings.Contains(err.Error(), "$2a$") {
			t.Errorf("%s: the error shows a hash: %v", name, err)
		}
	}
	if l.Err() != nil {
		t.Error(l.Err())
	}
	mustLogin(t, d, Credentials{User: "ann", Password: "a"})
}

func TestTheFileWins(t *testing.T) {
	d := directory(t, Config{Users: []User{{Name: "ann", Password: "file"}}})
	must(t, d.Put(User{Name: "ann", PasswordHash: bcrypted(t, "managed")}))
	mustLogin(t, d, Credentials{User: "ann", Password: "file"})
	refused(t, d, Credentials{User: "ann", Password: "managed"}, ErrRefused)
	must(t, d.Configure(Config{}))
	mustLogin(t, d, Credentials{User: "ann", Password: "managed"})
	refused(t, d, Credentials{User: "ann", Password: "file"}, ErrRefused)
}

func TestTokens(t *testing.T) {
	d := directory(t, Config{Users: []User{{Name: "ann", Password: "a"}}})
	token, secret := NewToken("ann", "laptop", time.Time{})
	if !strings.HasPrefix(secret, TokenPrefix) || len(secret) != len(TokenPrefix)+43 || strings.Contains(fmt.Sprint(token), secret) {
		t.Errorf("token %v, secret of %d bytes", token, len(secret))
	}
	refused2 := func(what string, c Credentials) {
		t.Helper()
		var bad *BadTokenError
		if _, err := d.Login(t.Context(), c); !errors.As(err, &bad) {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused2("not known yet", Credentials{Token: secret})
	must(t, d.PutToken(token))
	for name, c := range map[string]Credentials{
		"bearer":                     {Token: secret},
		"as the password":            {Password: secret},
		"as the password, with name": {User: "ann", Password: secret},
	} {
		if l := mustLogin(t, d, c); l.Identity().Name != "ann" {
			t.Errorf("%s: %+v", name, l.Identity())
		}
	}
	refused2("of another user", Credentials{User: "bob", Password: secret})
	refused2("one letter off", Credentials{Token: secret[:len(secret)-1] + "_"})
	if all := d.Tokens("ann"); len(all) != 1 || all[0].Label != "laptop" {
		t.Errorf("tokens %+v", all)
	}
	l := mustLogin(t, d, Credentials{Token: secret})
	again := token
	must(t, d.PutToken(again))
	if l.Err() != nil {
		t.Errorf("the same token again: %v", l.Err())
	}
	d.ForgetToken(token.ID)
	closes(t, "revoked", l.Ended())
	refused2("revoked", Credentials{Token: secret})
	short, secret := NewToken("ann", "", time.Now().Add(50*time.Millisecond))
	must(t, d.PutToken(short))
	if l, err := d.Login(t.Context(), Credentials{Token: secret}); err == nil {
		closes(t, "expired", l.Ended())
	}
	closes(t, "the end", newLive(nil, nil, short.Expires).Ended())
	refused2("expired", Credentials{Token: secret})
	orphan, secret := NewToken("nobody", "", time.Time{})
	must(t, d.PutToken(orphan))
	refused2("without an owner", Credentials{Token: secret})
	must(t, d.Put(User{Name: "nobody", PasswordHash: bcrypted(t, "x")}))
	mustLogin(t, d, Credentials{Token: secret})
}

func TestCertificates(t *testing.T) {
	users := []User{
		{Name: "ann", Password: "a"},
		{Name: "shop", Certificates: []string{"shop.example.com", "spiffe://example/shop"}},
		{Name: "CN=deep,O=Example", Password: "a"},
	}
	cert := func(cn string, dns ...string) *x509.Certificate {
		return &x509.Certificate{Raw: []byte(cn + fmt.Sprint(dns)), Subject: pkix.Name{CommonName: cn, Organization: []string{"Example"}}, DNSNames: dns, NotAfter: time.Now().Add(time.Hour)}
	}
	for name, c := range map[string]struct {
		subject string
		show    *x509.Certificate
		want    string // "": refused
	}{
		"common name":                {CommonName, cert("ann"), "ann"},
		"common name by default":     {"", cert("ann"), "ann"},
		"common name of a list":      {"", cert("shop.example.com"), "shop"},
		"unknown":                    {"", cert("bob"), ""},
		"none":                       {"", cert(""), ""},
		"DNS name":                   {DNSName, cert("ann", "other", "shop.example.com"), "shop"},
		"DNS names of two users":     {DNSName, cert("x", "ann", "shop.example.com"), ""},
		"whole name":                 {DistinguishedName, cert("deep"), "CN=deep,O=Example"},
		"whole name, the other kind": {DistinguishedName, cert("ann"), ""},
	} {
		d := directory(t, Config{Users: users, Subject: c.subject})
		l, err := d.Login(t.Context(), Credentials{Anonymous: true, Certificate: c.show})
		if got := nameOf(l); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	d := directory(t, Config{Users: users})
	l := mustLogin(t, d, Credentials{Anonymous: true, Certificate: cert("ann")})
	if l != mustLogin(t, d, Credentials{Anonymous: true, Certificate: cert("ann")}) || l.Expires().IsZero() {
		t.Error("the same certificate gives another login, or one without end")
	}
	if who := mustLogin(t, d, Credentials{User: "shop"[:0] + "ann", Password: "a", Certificate: cert("shop.example.com")}); nameOf(who) != "ann" {
		t.Errorf("a password beside a certificate is %q", nameOf(who))
	}
	must(t, d.Configure(Config{Users: users, Loopback: []string{"x"}}))
	if l.Err() != nil {
		t.Errorf("a change of something else: %v", l.Err())
	}
	must(t, d.Configure(Config{Users: users, Subject: DNSName}))
	closes(t, "a certificate by another name", l.Ended())
	must(t, d.Configure(Config{Users: users}))
	l = mustLogin(t, d, Credentials{Anonymous: true, Certificate: cert("ann")})
	must(t, d.Configure(Config{Users: users[1:]}))
	closes(t, "the certificate of who is gone", l.Ended())
}

func nameOf(l *Live) string {
	if l == nil {
		return ""
	}
	return l.Identity().Name
}

func TestLockout(t *testing.T) {
	d := directory(t, Config{Users: []User{{Name: "ann", Password: "a"}, {Name: "bob", Password: "b"}}, Lockout: 3})
	now := time.Now()
	d.guard.now = func() time.Time { return now }
	at := func(user, password, remote string) error {
		_, err := d.Login(t.Context(), Credentials{User: user, Password: password, Remote: remote})
		return err
	}
	const here, there = "192.0.2.1:1000", "192.0.2.2:1000"
	fail := func(n int) {
		t.Helper()
		for range n {
			if err := at("ann", "wrong", here); !errors.Is(err, ErrRefused) {
				t.Fatalf("%v", err)
			}
		}
	}
	fail(2)
	must(t, at("ann", "a", here)) // and all is forgiven
	fail(3)
	var locked *LockedError
	if err := at("ann", "a", "192.0.2.1:9"); !errors.As(err, &locked) || locked.Wait != firstLock {
		t.Fatalf("locked out: %v", err)
	}
	must(t, at("ann", "a", there))
	must(t, at("bob", "b", here))
	must(t, at("ann", "a", ""))
	now = now.Add(firstLock)
	fail(1)
	if err := at("ann", "a", here); !errors.As(err, &locked) || locked.Wait != 2*firstLock {
		t.Fatalf("locked out again: %v", err)
	}
	now = now.Add(2 * firstLock)
	must(t, at("ann", "a", here))
	for range 10 {
		if err := at("ann", "wrong", ""); !errors.Is(err, ErrRefused) {
			t.Fatalf("without an address: %v", err)
		}
	}
	must(t, at("ann", "a", ""))
}

// TestGuessesAtTheSameTime: whoever asks many times at once learns nothing from the answers that come after the lock.
func TestGuessesAtTheSameTime(t *testing.T) {
	d := directory(t, Config{Users: []User{{Name: "ann", Password: bcrypted(t, "a")}}, Lockout: 3})
	must(t, d.slow.Acquire(t.Context(), 1))
	turns := int64(1)
	for d.slow.TryAcquire(1) {
		turns++
	}
	at, _ := (&Credentials{Remote: "192.0.2.1:1"}).address()
	who := suspectOf("ann", at)
	d.guard.failed(who)
	asked, once := make(chan struct{}), sync.Once{}
	d.guard.now = func() time.Time { // is called when it is looked whether ann is locked out
		once.Do(func() { close(asked) })
		return time.Now()
	}
	answer := make(chan error, 1)
	go func() {
		_, err := d.Login(t.Context(), Credentials{User: "ann", Password: "a", Remote: "192.0.2.1:1"})
		answer <- err
	}()
	closes(t, "the look at the lock", asked)
	d.guard.failed(who)
	d.guard.failed(who)
	d.slow.Release(turns)
	var locked *LockedError
	if err := <-answer; !errors.As(err, &locked) {
		t.Errorf("%v", err)
	}
}

// TestLockoutCanBeChanged: with the rest of the configuration.
func TestLockoutCanBeChanged(t *testing.T) {
	cfg := Config{Users: []User{{Name: "ann", Password: "a"}}}
	d := directory(t, cfg)
	try := func(password string) error {
		_, err := d.Login(t.Context(), Credentials{User: "ann", Password: password, Remote: "192.0.2.1:1"})
		return err
	}
	cfg.Lockout = 1
	must(t, d.Configure(cfg))
	refused(t, d, Credentials{User: "ann", Password: "wrong", Remote: "192.0.2.1:1"}, ErrRefused)
	var locked *LockedError
	if err := try("a"); !errors.As(err, &locked) {
		t.Errorf("locked out: %v", err)
	}
	cfg.Lockout = 0
	must(t, d.Configure(cfg))
	must(t, try("a"))
}

// TestTheLastAdministrator: a user of another tenant who may do everything there is none.
func TestTheLastAdministrator(t *testing.T) {
	d := directory(t, Config{Users: []User{{Name: "ann", Password: "a", Tenant: "shop", Tenants: []string{"*"}}}})
	must(t, d.Put(User{Name: "root", PasswordHash: bcrypted(t, "r")}))
	if !d.LocksOut("root", nil) {
		t.Error("root is the last one")
	}
	must(t, d.Put(User{Name: "ops", PasswordHash: bcrypted(t, "o"), Tenant: "shop", Roles: []string{"administrator"}}))
	if d.LocksOut("root", nil) {
		t.Error("there is another one")
	}
}

func TestGuardIsBounded(t *testing.T) {
	g := newGuard(1)
	at, _ := (&Credentials{Remote: "192.0.2.1:1"}).address()
	first := suspectOf("0", at)
	for i := range maxWatched + 1 {
		g.failed(suspectOf(fmt.Sprint(i), at))
	}
	if len(g.seen) != maxWatched || g.order.Len() != maxWatched || g.locked(first) != 0 {
		t.Errorf("%d remembered, %d in order", len(g.seen), g.order.Len())
	}
	six, _ := (&Credentials{Remote: "[2001:db8::1]:1"}).address()
	seven, _ := (&Credentials{Remote: "[2001:db8::7]:1"}).address()
	if suspectOf("a", six) != suspectOf("a", seven) {
		t.Error("two addresses of one IPv6 network are two")
	}
}

func TestDelays(t *testing.T) {
	g := newGuard(0)
	at, _ := (&Credentials{Remote: "192.0.2.1:1"}).address()
	var got []time.Duration
	for range 10 {
		got = append(got, g.failed(suspectOf("a", at)))
	}
	want := []time.Duration{0, 0, 0, firstDelay, 2 * firstDelay, 4 * firstDelay, 8 * firstDelay, 16 * firstDelay, longestDelay, longestDelay}
	if !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	g.wait(ctx, time.Hour) // returns with the context
	for range maxDelayed {
		g.delayed <- struct{}{}
	}
	g.wait(t.Context(), time.Hour) // and without a place at once
}

func TestWhatWasRightIsRemembered(t *testing.T) {
	slow, err := bcrypt.GenerateFromPassword([]byte("a"), 12)
	must(t, err)
	d := directory(t, Config{Users: []User{{Name: "ann", PasswordHash: string(slow)}, {Name: "bob", PasswordHash: string(slow)}}})
	mustLogin(t, d, Credentials{User: "ann", Password: "a"})
	must(t, d.slow.Acquire(t.Context(), 1)) // no hash can be computed from here on, on a machine of two processors
	defer d.slow.Release(1)
	for d.slow.TryAcquire(1) {
		defer d.slow.Release(1)
	}
	for range 1000 {
		mustLogin(t, d, Credentials{User: "ann", Password: "a"})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := d.Login(ctx, Credentials{User: "ann", Password: "b"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("another password: %v", err)
	}
	if _, err := d.Login(ctx, Credentials{User: "bob", Password: "a"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the same password of another user: %v", err)
	}
	must(t, d.Configure(Config{Users: []User{{Name: "ann", PasswordHash: bcrypted(t, "b")}}}))
	if _, err := d.Login(ctx, Credentials{User: "ann", Password: "a"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the old password: %v", err)
	}
}

func TestTooManyAtOnce(t *testing.T) {
	d := directory(t, Config{Users: []User{{Name: "ann", PasswordHash: bcrypted(t, "a")}}})
	must(t, d.waiting.Acquire(t.Context(), maxWaiting))
	refused(t, d, Credentials{User: "ann", Password: "a"}, ErrBusy)
	d.waiting.Release(maxWaiting)
	mustLogin(t, d, Credentials{User: "ann", Password: "a"})
}

func TestBoundsOfWhatIsLookedAt(t *testing.T) {
	d := directory(t, Config{Users: []User{{Name: "ann", Password: "a"}}})
	for name, c := range map[string]Credentials{
		"name":     {User: strings.Repeat("a", MaxName+1), Password: "a"},
		"password": {User: "ann", Password: strings.Repeat("a", MaxPassword+1)},
		"huge":     {User: "ann", Password: strings.Repeat("a", 1<<20)},
		"token":    {Token: strings.Repeat("a", MaxToken+1)},
	} {
		if _, err := d.Login(t.Context(), c); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestManyUsers puts as many as there may be: each change costs what it changes, not what there is.
func TestManyUsers(t *testing.T) {
	d := directory(t, Config{Users: []User{{Name: "root", Password: "r"}}})
	hash := bcrypted(t, "a")
	began := time.Now()
	for i := range MaxManaged {
		must(t, d.Put(User{Name: fmt.Sprint("u", i), PasswordHash: hash, Publish: []string{"a.>"}}))
	}
	if took := time.Since(began); took > patience {
		t.Errorf("%d users took %s", MaxManaged, took)
	}
	if err := d.Put(User{Name: "one more", PasswordHash: hash}); err == nil || !d.Full() {
		t.Error("one more is taken")
	}
	must(t, d.Put(User{Name: "u7", PasswordHash: hash}))
	mustLogin(t, d, Credentials{User: "u7", Password: "a"})
	if all := d.All(); len(all) != MaxManaged+1 || all[0].Name != "root" || all[0].Managed || !all[1].Managed {
		t.Errorf("%d users", len(all))
	}
	for _, name := range d.ManagedNames() {
		d.Forget(name)
	}
	if len(d.accounts) != 1 || len(d.names) != 1 {
		t.Errorf("%d accounts, %d names are left", len(d.accounts), len(d.names))
	}
}

func TestAnNKeyIsOneUsers(t *testing.T) {
	d := directory(t, Config{Users: []User{{Name: "root", Password: "r", Keys: []string{key("A")}}}})
	if err := d.Put(User{Name: "ann", Keys: []string{key("B"), key("A")}}); err == nil {
		t.Error("another's nkey is taken")
	}
	must(t, d.Put(User{Name: "ann", Keys: []string{key("B")}}))
	if l := mustLogin(t, d, Credentials{PublicKey: key("B")}); nameOf(l) != "ann" {
		t.Errorf("%q", nameOf(l))
	}
	must(t, d.Put(User{Name: "ann", Keys: []string{key("C")}}))
	refused(t, d, Credentials{PublicKey: key("B")}, ErrRefused)
	must(t, d.Put(User{Name: "bob", Keys: []string{key("B")}}))
	if l := mustLogin(t, d, Credentials{PublicKey: key("B")}); nameOf(l) != "bob" {
		t.Errorf("%q", nameOf(l))
	}
}
