package core

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
)

// accounts are the names of the accounts of the embedded server that belong to a tenant (see accountTenant). A tenant may have any name; an account's is made of letters.
type accounts struct{ own, live, ingress string }

// accountsOf names them. The server forgets neither an account nor what ties it to others, so a tenant that is made under the name of one that was deleted has accounts of another generation; "" is the first.
func accountsOf(tenant, generation string) accounts {
	own := accountTenant
	if tenant != DefaultTenant {
		own += "_T" + hex.EncodeToString([]byte(tenant))
	}
	if generation != "" {
		own += "_G" + generation
	}
	return accounts{own: own, live: own + "_LIVE", ingress: own + "_INGRESS"}
}

// all are the three.
func (a accounts) all() []string { return []string{a.own, a.live, a.ingress} }

// newAccounts returns the accounts that are there from the beginning. Those of other tenants come with openAccounts.
func newAccounts() ([]*server.Account, error) {
	names := accountsOf(DefaultTenant, "")
	own, live, ingress := server.NewAccount(names.own), server.NewAccount(names.live), server.NewAccount(names.ingress)
	if err := tie(own, live, ingress); err != nil {
		return nil, err
	}
	return []*server.Account{server.NewAccount(accountSystem), server.NewAccount(accountInternal), own, live, ingress}, nil
}

// tie makes a tenant of three accounts.
func tie(own, live, ingress *server.Account) error {
	if err := share(live, own, everything); err != nil {
		return err
	}
	return share(own, ingress, everything)
}

const everything = ">"

// share lets to hear what is published on pattern in from. Doing it twice is no error.
func share(from, to *server.Account, pattern string) error {
	if err := from.AddStreamExport(pattern, nil); err != nil {
		return fmt.Errorf("export from %s: %w", from.Name, err)
	}
	if err := to.AddStreamImport(from, pattern, ""); err != nil && !errors.Is(err, server.ErrStreamImportDuplicate) {
		return fmt.Errorf("import into %s: %w", to.Name, err)
	}
	return nil
}

// openAccounts makes sure that a tenant's accounts are there and keep what they have on disk: so many bytes at most; 0: no limit.
func (e *embedded) openAccounts(names accounts, bytes int64) error {
	var found []*server.Account
	fresh := false
	for _, name := range names.all() {
		a, err := e.LookupAccount(name)
		if err != nil {
			fresh = true
			if a, err = e.RegisterAccount(name); err != nil {
				return fmt.Errorf("account %s: %w", name, err)
			}
		}
		found = append(found, a)
	}
	if fresh {
		if err := tie(found[0], found[1], found[2]); err != nil {
			return err
		}
	}
	e.keepers.add(names.own)
	if err := e.enableAccounts(); err != nil {
		return err
	}
	return limitStore(found[0], bytes)
}

// limitStore bounds what the streams of an account keep on disk.
func limitStore(account *server.Account, bytes int64) error {
	limits := server.JetStreamAccountLimits{MaxMemory: -1, MaxStore: -1, MaxStreams: -1, MaxConsumers: -1, MaxAckPending: -1, MemoryMaxStreamBytes: -1, StoreMaxStreamBytes: -1}
	if bytes > 0 {
		limits.MaxStore = bytes
	}
	if err := account.UpdateJetStreamLimits(map[string]server.JetStreamAccountLimits{"": limits}); err != nil {
		return fmt.Errorf("limit JetStream of %s: %w", account.Name, err)
	}
	return nil
}

// shareBetween lets tenant to have what is published on pattern in tenant from, by clients and by doors, both its subscribers and its queues.
func (e *embedded) shareBetween(source, target accounts, pattern string) error {
	for _, s := range []string{source.own, source.live} {
		for _, t := range []string{target.own, target.ingress} {
			out, err := e.LookupAccount(s)
			if err != nil {
				return fmt.Errorf("account %s: %w", s, err)
			}
			in, err := e.LookupAccount(t)
			if err != nil {
				return fmt.Errorf("account %s: %w", t, err)
			}
			if err := share(out, in, pattern); err != nil {
				return err
			}
		}
	}
	return nil
}

// closeAccounts takes a tenant's JetStream away with all that it keeps, and sends its clients away. The accounts stay, empty: the server forgets none.
func (e *embedded) closeAccounts(own string) error {
	e.keepers.remove(own)
	account, err := e.LookupAccount(own)
	if err != nil {
		return nil //nolint:nilerr // there is none
	}
	if err := e.disconnect(own); err != nil {
		return err
	}
	if !account.JetStreamEnabled() {
		return nil
	}
	if err := account.DisableJetStream(); err != nil {
		return fmt.Errorf("take JetStream from %s: %w", own, err)
	}
	return nil
}

// disconnect ends the connections of an account, the gateway's own left out.
func (e *embedded) disconnect(account string) error {
	const page = 1024
	list, err := e.Connz(&server.ConnzOptions{Username: true, Account: account, Limit: page})
	for err == nil && len(list.Conns) > 0 {
		gone := 0
		for _, c := range list.Conns {
			if !ownUser(c.AuthorizedUser) && e.DisconnectClientByID(c.Cid) == nil {
				gone++
			}
		}
		if gone == 0 {
			return nil
		}
		list, err = e.Connz(&server.ConnzOptions{Username: true, Account: account, Limit: page})
	}
	if err != nil {
		return fmt.Errorf("list connections: %w", err)
	}
	return nil
}

// ownUser tells the gateway's own connections by the name they log in with.
func ownUser(name string) bool { return strings.HasPrefix(name, bootPrefix) }

// keepers are the accounts that keep something on disk: those of the queue logs and of the default tenant, and what is added.
type keepers struct {
	mu    sync.Mutex
	added []string // guarded by mu
}

func (k *keepers) all() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]string{accountInternal, accountTenant}, k.added...)
}

func (k *keepers) add(account string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if account != accountTenant && !slices.Contains(k.added, account) {
		k.added = append(k.added, account)
	}
}

func (k *keepers) remove(account string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.added = slices.DeleteFunc(k.added, func(a string) bool { return a == account })
}
