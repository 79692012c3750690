package identity

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
)

// TokenPrefix begins every token of the gateway's own, so that one that has got out is recognised.
const TokenPrefix = "ptk_"

// Bounds of tokens.
const (
	MaxTokens = 64 // of one user
	MaxLabel  = 256
	secretLen = 32 // bytes
)

// Token is a bearer token as it is kept: not itself, but its sum.
type Token struct {
	ID      string    `json:"id"`
	Owner   string    `json:"owner"`
	Label   string    `json:"label,omitempty"`
	Sum     string    `json:"sum"` // SHA-256, hexadecimal
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"` // zero: never
}

// NewToken makes a token. secret is what its owner shows; it is not kept.
func NewToken(owner, label string, expires time.Time) (t Token, secret string) {
	raw := make([]byte, secretLen)
	_, _ = rand.Read(raw) // never fails
	secret = TokenPrefix + base64.RawURLEncoding.EncodeToString(raw)
	sum := sha256.Sum256([]byte(secret))
	id := strings.ToLower(rand.Text()[:12])
	return Token{ID: id, Owner: owner, Label: label, Sum: hex.EncodeToString(sum[:]), Created: time.Now().UTC().Truncate(time.Second), Expires: expires}, secret
}

// tokens are those that are known. The directory's mutex guards it.
type tokens struct {
	byID    map[string]*issued
	bySum   map[string]*issued            // by Token.Sum: that of a guess tells nothing about those that are kept
	byOwner map[string]map[string]*issued // and id
}

// issued is a token with those who are in by it.
type issued struct {
	Token
	live *Live // nil: its owner cannot log in
}

func newTokens() tokens {
	return tokens{byID: map[string]*issued{}, bySum: map[string]*issued{}, byOwner: map[string]map[string]*issued{}}
}

// PutToken makes a token known. A token of this id that is known already is replaced.
func (d *Directory) PutToken(t Token) error {
	if raw, err := hex.DecodeString(t.Sum); t.ID == "" || err != nil || len(raw) != sha256.Size {
		return fmt.Errorf("token %q: it is damaged", t.ID)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if before := d.tokens.byID[t.ID]; before != nil {
		if before.Owner == t.Owner && before.Sum == t.Sum && before.Expires.Equal(t.Expires) {
			return nil
		}
		d.tokens.drop(before)
	}
	i := &issued{Token: t}
	i.follow(d.accounts[t.Owner])
	d.tokens.add(i)
	return nil
}

// ForgetToken revokes a token.
func (d *Directory) ForgetToken(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i := d.tokens.byID[id]; i != nil {
		d.tokens.drop(i)
	}
}

func (t *tokens) add(i *issued) {
	t.byID[i.ID], t.bySum[i.Sum] = i, i
	if t.byOwner[i.Owner] == nil {
		t.byOwner[i.Owner] = map[string]*issued{}
	}
	t.byOwner[i.Owner][i.ID] = i
}

func (t *tokens) drop(i *issued) {
	delete(t.byID, i.ID)
	delete(t.bySum, i.Sum)
	if delete(t.byOwner[i.Owner], i.ID); len(t.byOwner[i.Owner]) == 0 {
		delete(t.byOwner, i.Owner)
	}
	if i.live != nil {
		i.live.end(ErrRevoked)
	}
}

// follow hangs the tokens of an owner on the account, nil for none.
func (t *tokens) follow(owner string, a *account) {
	for _, i := range t.byOwner[owner] {
		i.follow(a)
	}
}

func (i *issued) follow(a *account) {
	switch {
	case a == nil:
		i.live = nil // it has ended with its parent
	case i.live == nil || i.live.parent != a.root:
		i.live = newLive(a.root, nil, i.Expires)
	}
}

// Tokens are those of a user, in the order in which they were made.
func (d *Directory) Tokens(owner string) (all []Token) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, i := range d.tokens.byOwner[owner] {
		all = append(all, i.Token)
	}
	slices.SortFunc(all, func(a, b Token) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return all
}

// byToken lets in who shows a token of the gateway's own. The name beside it must be its owner's, or empty.
func (d *Directory) byToken(secret, user string) (*Live, error) {
	sum := sha256.Sum256([]byte(secret))
	d.mu.RLock()
	defer d.mu.RUnlock()
	i := d.tokens.bySum[hex.EncodeToString(sum[:])]
	if i == nil || i.live == nil || user != "" && user != i.Owner {
		return nil, badToken("the token is unknown, or was revoked")
	}
	if err := i.live.Err(); err != nil {
		return nil, &BadTokenError{Detail: err.Error(), Err: err}
	}
	return i.live, nil
}
