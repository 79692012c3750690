package core

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"
)

// DefaultTenant is always there. It is AMQP's virtual host of the same name.
const DefaultTenant = "/"

const (
	tenantsTable  = "tenants" // of the default tenant; key: name; value: its description
	maxTenants    = 1024      // of a node, the default one left out
	maxTenantName = 100       // bytes: twice as many must fit into the name of a folder
	maxImports    = 64        // of a tenant
)

// TenantConfig describes a tenant: a world of its own, of subjects, queues, streams and buckets. To NATS it is an account, to AMQP a virtual host.
type TenantConfig struct {
	Name    string         `json:"name" yaml:"name"` // 1 to 100 bytes of UTF-8 without control characters
	Limits  TenantLimits   `json:"limits,omitzero" yaml:"limits,omitempty"`
	Exports []string       `json:"exports,omitempty" yaml:"exports,omitempty"` // subject patterns that other tenants may import
	Imports []TenantImport `json:"imports,omitempty" yaml:"imports,omitempty"`
}

// TenantImport brings messages in that another tenant lets out.
type TenantImport struct {
	Tenant  string `json:"tenant" yaml:"tenant"`
	Subject string `json:"subject" yaml:"subject"` // a pattern; it must lie within one of that tenant's exports
}

// TenantInfo is a tenant as it is now.
type TenantInfo struct {
	TenantConfig
	Configured  bool  // by the configuration file, so that it cannot be deleted
	Queues      int   // it has
	Bytes       int64 // its queues keep
	Messages    int   // in its queues, ready or unacked
	Connections int64 // at this node's doors, HTTP and gRPC left out
}

// check finds what cannot be.
func (c *TenantConfig) check() error {
	control := func(r rune) bool { return r < ' ' || r == 0x7f }
	if c.Name == "" || len(c.Name) > maxTenantName || !utf8.ValidString(c.Name) || strings.ContainsFunc(c.Name, control) {
		return Errorf(CodeInvalid, "tenant %q: want a name of 1 to %d bytes of UTF-8 without control characters", c.Name, maxTenantName)
	}
	if len(c.Exports) > maxImports || len(c.Imports) > maxImports {
		return Errorf(CodeInvalid, "tenant %q: at most %d exports and %d imports", c.Name, maxImports, maxImports)
	}
	for _, pattern := range c.Exports {
		if err := checkShared(pattern); err != nil {
			return err
		}
	}
	for _, i := range c.Imports {
		if i.Tenant == c.Name {
			return Errorf(CodeInvalid, "tenant %q imports from itself", c.Name)
		}
		if err := checkShared(i.Subject); err != nil {
			return err
		}
	}
	return c.Limits.check()
}

// checkShared tells whether a pattern may go from one tenant to another: not the bus's own subjects, nor inboxes.
func checkShared(pattern string) error {
	if err := checkPattern(pattern); err != nil {
		return err
	}
	if hasWildcard(firstWord(pattern)) || reserved(pattern) {
		return Errorf(CodeInvalid, "%q cannot be shared: its first token must be a plain one", pattern)
	}
	return nil
}

// TenantWatcher is told of tenants, one after the other: of those that are there when it is added, and of every change.
type TenantWatcher interface {
	// TenantOpened prepares what belongs to a new tenant, before anybody can use it. bus is the gateway's own. After an error the tenant is not made.
	TenantOpened(bus *Bus) error
	// TenantClosed gives up what belonged to a tenant, and whoever is connected to it. Its queues are closed after it returns.
	TenantClosed(name string)
}

// tenants are those of a node.
type tenants struct {
	changing sync.Mutex // held while one is opened or closed, and over calls of watchers

	// guarded by mu
	mu       sync.RWMutex
	byName   map[string]*tenant
	configs  map[string]TenantConfig
	watchers []TenantWatcher
}

func newTenants() *tenants {
	return &tenants{byName: map[string]*tenant{}, configs: map[string]TenantConfig{}}
}

// get returns the tenant of that name; "" is the default one. CodeNotFound.
func (t *tenants) get(name string) (*tenant, error) {
	if name == "" {
		name = DefaultTenant
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	if found := t.byName[name]; found != nil {
		return found, nil
	}
	return nil, Errorf(CodeNotFound, "there is no tenant %q", name)
}

// all are the tenants in no order.
func (t *tenants) all() []*tenant {
	t.mu.RLock()
	defer t.mu.RUnlock()
	list := make([]*tenant, 0, len(t.byName))
	for _, x := range t.byName {
		list = append(list, x)
	}
	return list
}

func (t *tenants) put(cfg TenantConfig, opened *tenant) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byName[cfg.Name], t.configs[cfg.Name] = opened, cfg
}

func (t *tenants) config(name string) (TenantConfig, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	cfg, ok := t.configs[name]
	return cfg, ok
}

func (t *tenants) drop(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byName, name)
	delete(t.configs, name)
}

// CheckTenants finds what cannot be in configured tenants.
func CheckTenants(configured []TenantConfig) error {
	seen := map[string]bool{}
	for _, cfg := range configured {
		if err := cfg.check(); err != nil {
			return err
		}
		if seen[cfg.Name] {
			return fmt.Errorf("tenant %q: named twice", cfg.Name)
		}
		seen[cfg.Name] = true
	}
	return nil
}

// weighing looks once a second whether tenants keep more than they may, until ctx ends.
func (t *tenants) weighing(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			for _, x := range t.all() {
				x.weigh()
			}
		case <-ctx.Done():
			return
		}
	}
}

// end ends them all.
func (t *tenants) end() {
	var all sync.WaitGroup
	for _, x := range t.all() {
		all.Go(x.end)
	}
	all.Wait()
}

// openTenants opens the default tenant, then those of the configuration and of the table.
func (g *Gateway) openTenants() (err error) {
	first := TenantConfig{Name: DefaultTenant}
	configs := map[string]TenantConfig{}
	for _, cfg := range g.cfg.Tenants {
		if cfg.Name == DefaultTenant {
			first = cfg
			continue
		}
		configs[cfg.Name] = cfg
	}
	if g.tenant, err = g.openTenant(first, accountsOf(DefaultTenant, "")); err != nil {
		return err
	}
	g.tenants.put(first, g.tenant)
	table, err := g.System().Table(g.ctx, tenantsTable)
	if err != nil {
		return err
	}
	kept, err := table.List(g.ctx)
	if err != nil {
		return err
	}
	generations := map[string]string{}
	for _, e := range kept {
		var old keptTenant
		if err := json.Unmarshal(e.Value, &old); err != nil {
			return fmt.Errorf("description of tenant %q: %w", e.Key, err)
		}
		if old.Leaving { // its deletion was interrupted
			if err := g.finishRemoval(g.ctx, e.Key); err != nil {
				g.log.Error("what is left of a deleted tenant cannot be deleted; it is tried again at the next start", "tenant", e.Key, "error", err)
			}
			continue
		}
		generations[e.Key] = old.Generation
		if _, configured := configs[e.Key]; !configured {
			configs[e.Key] = old.TenantConfig
		}
	}
	return g.openMany(configs, generations)
}

func (g *Gateway) openMany(configs map[string]TenantConfig, generations map[string]string) error {
	var all errgroup.Group
	all.SetLimit(restoreWidth)
	for _, cfg := range configs {
		all.Go(func() error {
			t, err := g.openParts(cfg, accountsOf(cfg.Name, generations[cfg.Name]))
			if err == nil {
				g.tenants.put(cfg, t)
			}
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	g.server.tenants.of.Store(g.tenants)
	for _, cfg := range configs { // when all are there
		if err := g.imports(cfg); err != nil {
			return err
		}
	}
	first, _ := g.tenants.config(DefaultTenant)
	return g.imports(first)
}

// openParts opens the accounts of a tenant and what it keeps.
func (g *Gateway) openParts(cfg TenantConfig, names accounts) (*tenant, error) {
	if err := g.server.openAccounts(names, cfg.Limits.Bytes); err != nil {
		return nil, err
	}
	return g.openTenant(cfg, names)
}

// imports ties the tenant to those it imports from. What is not exported, or not there, is left out, and told.
func (g *Gateway) imports(cfg TenantConfig) error {
	for _, i := range cfg.Imports {
		from, ok := g.tenants.config(i.Tenant)
		if !ok || !slices.ContainsFunc(from.Exports, func(e string) bool { return covers(e, i.Subject) }) {
			g.log.Warn("a tenant does not get what it wants to import: the other does not export it", "tenant", cfg.Name, "from", i.Tenant, "subject", i.Subject)
			continue
		}
		source, err := g.tenants.get(i.Tenant)
		if err != nil {
			return err
		}
		target, err := g.tenants.get(cfg.Name)
		if err != nil {
			return err
		}
		if err := g.server.shareBetween(source.accounts, target.accounts, i.Subject); err != nil {
			return err
		}
	}
	return nil
}

// HasTenant tells whether there is a tenant of that name.
func (g *Gateway) HasTenant(name string) bool {
	_, ok := g.tenants.config(name)
	return ok
}

// Tenants describes the tenants by name.
func (g *Gateway) Tenants() []TenantInfo {
	var list []TenantInfo
	for _, t := range g.tenants.all() {
		cfg, ok := g.tenants.config(t.name)
		if !ok {
			continue // it has just been deleted
		}
		kept := t.kept()
		list = append(list, TenantInfo{
			TenantConfig: cfg, Configured: g.configures(t.name), Queues: len(t.queues.all()), Bytes: kept.Bytes, Messages: kept.Ready + kept.Unacked,
			Connections: t.quota.connections.Load() + t.nativeConnections(),
		})
	}
	slices.SortFunc(list, func(a, b TenantInfo) int { return strings.Compare(a.Name, b.Name) })
	return list
}

func (g *Gateway) configures(name string) bool {
	return name == DefaultTenant || slices.ContainsFunc(g.cfg.Tenants, func(c TenantConfig) bool { return c.Name == name })
}

// PutTenant makes a tenant, or gives the one of that name other limits; imports and exports of one that is there cannot be changed. It is kept on disk when PutTenant returns.
// CodeInvalid, CodePreconditionFailed (imports or exports differ, or the configuration file describes it), CodeResourceExhausted.
func (g *Gateway) PutTenant(ctx context.Context, cfg TenantConfig) (created bool, err error) {
	if err := cfg.check(); err != nil {
		return false, err
	}
	g.tenants.changing.Lock()
	defer g.tenants.changing.Unlock()
	if g.configures(cfg.Name) {
		return false, Errorf(CodePreconditionFailed, "tenant %q is described by the configuration", cfg.Name)
	}
	old, exists := g.tenants.config(cfg.Name)
	switch {
	case exists && (!slices.Equal(old.Exports, cfg.Exports) || !slices.Equal(old.Imports, cfg.Imports)):
		return false, Errorf(CodePreconditionFailed, "tenant %q has other imports or exports: they are set once", cfg.Name)
	case !exists && len(g.tenants.all()) > maxTenants:
		return false, Errorf(CodeResourceExhausted, "there are %d tenants already", maxTenants)
	}
	if exists {
		return false, g.changeTenant(ctx, cfg)
	}
	return true, g.addTenant(ctx, cfg)
}

// keptTenant is a tenant as the table has it.
type keptTenant struct {
	TenantConfig
	Generation string `json:"generation,omitempty"` // of its accounts
	Leaving    bool   `json:"leaving,omitempty"`    // it is being deleted, or made and not there yet: what there is of it has to go
}

func (g *Gateway) keptTenant(ctx context.Context, name string) (kept keptTenant, err error) {
	table, err := g.System().Table(ctx, tenantsTable)
	if err != nil {
		return kept, err
	}
	e, err := table.Get(ctx, name)
	if err != nil {
		return kept, err
	}
	return kept, json.Unmarshal(e.Value, &kept)
}

func (g *Gateway) keepTenant(ctx context.Context, kept keptTenant) error {
	value, err := json.Marshal(kept)
	if err != nil {
		return fmt.Errorf("encode tenant: %w", err)
	}
	table, err := g.System().Table(ctx, tenantsTable)
	if err != nil {
		return err
	}
	_, err = table.Put(ctx, kept.Name, value)
	return err
}

func (g *Gateway) changeTenant(ctx context.Context, cfg TenantConfig) error {
	t, err := g.tenants.get(cfg.Name)
	if err != nil {
		return err
	}
	kept, err := g.keptTenant(ctx, cfg.Name)
	if err != nil {
		return err
	}
	kept.TenantConfig = cfg
	if err := g.keepTenant(ctx, kept); err != nil {
		return err
	}
	t.quota.set(cfg.Limits)
	g.tenants.put(cfg, t)
	return g.server.openAccounts(t.accounts, cfg.Limits.Bytes)
}

func (g *Gateway) watchers() []TenantWatcher {
	g.tenants.mu.RLock()
	defer g.tenants.mu.RUnlock()
	return slices.Clone(g.tenants.watchers)
}

// WatchTenants tells w of the tenants that are there, and from then on of those that come and go. The first error is returned, and w is not told any more.
func (g *Gateway) WatchTenants(w TenantWatcher) error {
	g.tenants.changing.Lock()
	defer g.tenants.changing.Unlock()
	for _, t := range g.tenants.all() {
		if err := w.TenantOpened(&Bus{tenant: t, system: true}); err != nil {
			return err
		}
	}
	g.tenants.mu.Lock()
	defer g.tenants.mu.Unlock()
	g.tenants.watchers = append(g.tenants.watchers, w)
	return nil
}

// DeleteTenant deletes a tenant with everything in it, and ends the connections to it. Once it has begun it goes on without ctx; what an error leaves behind goes when it is called again, when one of
// that name is made, or at the next start. CodeNotFound; CodePreconditionFailed for one that the configuration describes.
func (g *Gateway) DeleteTenant(ctx context.Context, name string) error {
	g.tenants.changing.Lock()
	defer g.tenants.changing.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removal)
	defer cancel()
	t, err := g.tenants.get(name)
	if err != nil {
		return g.finishRemoval(ctx, name)
	}
	if g.configures(t.name) {
		return Errorf(CodePreconditionFailed, "tenant %q is described by the configuration", t.name)
	}
	kept, err := g.keptTenant(ctx, t.name)
	if err != nil {
		return err
	}
	kept.Leaving = true
	if err := g.keepTenant(ctx, kept); err != nil {
		return err
	}
	g.tenants.drop(t.name)
	for _, w := range g.watchers() { // first: they have words of their own for those who are connected
		w.TenantClosed(t.name)
	}
	return g.removeParts(ctx, t)
}

// forgetTenant takes a tenant's description out of the table.
func (g *Gateway) forgetTenant(ctx context.Context, name string) error {
	table, err := g.System().Table(ctx, tenantsTable)
	if err != nil {
		return err
	}
	return table.Delete(ctx, name)
}
