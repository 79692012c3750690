package identity

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"maps"
	"slices"
	"sync"
	"time"
)

// account is a user who is known, with those who are in by it. What a login gave hangs together like this, so that each change ends exactly what it must:
//
//	root ─┬─ password
//	      ├─ each key
//	      ├─ certificates ── each certificate
//	      └─ each token
type account struct {
	// immutable: a change of the user makes another account, which takes over what goes on
	user User
	hash hash

	root      *Live
	password  *Live
	keys      map[string]*Live
	certified *Live

	proven *proven
}

// maxProven bounds how many passwords (of one user there is one, and some are shown in several encodings) and certificates of an account are remembered.
const (
	maxProven    = 4
	maxPresented = 256
)

// proven remembers what has been shown and was right, so that a slow hash or a chain is not gone through for every request.
type proven struct {
	mu           sync.Mutex
	passwords    [][sha256.Size]byte         // guarded by mu: sums by a key that is new in every process
	certificates map[[sha256.Size]byte]*Live // guarded by mu
}

// newAccount makes one of a user that is valid, and takes over from before what is as it was. before may be nil.
func newAccount(u *User, before *account) (*account, error) {
	h, err := u.hash()
	if err != nil {
		return nil, err
	}
	who, err := u.identity()
	if err != nil {
		return nil, err
	}
	if before == nil {
		return freshAccount(u, h, who), nil
	}
	a := &account{user: *u, hash: h, root: before.root, password: before.password, certified: before.certified, proven: before.proven, keys: map[string]*Live{}}
	if u.Password != before.user.Password || u.PasswordHash != before.user.PasswordHash {
		a.password, a.proven = newLive(a.root, nil, time.Time{}), &proven{}
	}
	if !slices.Equal(u.Certificates, before.user.Certificates) {
		a.certified, a.proven = newLive(a.root, nil, time.Time{}), &proven{}
	}
	for _, key := range u.Keys {
		if a.keys[key] = before.keys[key]; a.keys[key] == nil {
			a.keys[key] = newLive(a.root, nil, time.Time{})
		}
	}
	if !samePermissions(u, &before.user) {
		a.root.become(who)
	}
	before.endUnless(a)
	return a, nil
}

func freshAccount(u *User, h hash, who *Identity) *account {
	a := &account{user: *u, hash: h, root: newLive(nil, who, time.Time{}), proven: &proven{}, keys: map[string]*Live{}}
	a.password, a.certified = newLive(a.root, nil, time.Time{}), newLive(a.root, nil, time.Time{})
	for _, key := range u.Keys {
		a.keys[key] = newLive(a.root, nil, time.Time{})
	}
	return a
}

// endUnless ends what next has not taken over.
func (a *account) endUnless(next *account) {
	if a.password != next.password {
		a.password.end(ErrChanged)
	}
	if a.certified != next.certified {
		a.certified.end(ErrChanged)
	}
	for _, key := range slices.Collect(maps.Keys(a.keys)) {
		if a.keys[key] != next.keys[key] {
			a.keys[key].end(ErrChanged)
		}
	}
}

// right tells whether the password has been shown before and was right. sum is of it by the directory's key.
func (p *proven) right(sum [sha256.Size]byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	found := 0
	for i := range p.passwords {
		if hmac.Equal(p.passwords[i][:], sum[:]) {
			found++
		}
	}
	return found > 0
}

func (p *proven) remember(sum [sha256.Size]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.passwords) >= maxProven {
		p.passwords = slices.Delete(p.passwords, 0, 1)
	}
	p.passwords = append(p.passwords, sum)
}

// presented is what the login by a certificate gives: those who show the same one share it.
func (a *account) presented(cert *x509.Certificate) *Live {
	sum := sha256.Sum256(cert.Raw)
	a.proven.mu.Lock()
	defer a.proven.mu.Unlock()
	l := a.proven.certificates[sum]
	if l == nil || l.Err() != nil {
		if len(a.proven.certificates) >= maxPresented || a.proven.certificates == nil {
			a.proven.certificates = map[[sha256.Size]byte]*Live{}
		}
		l = newLive(a.certified, nil, cert.NotAfter)
		a.proven.certificates[sum] = l
	}
	return l
}
