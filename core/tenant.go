package core

import (
	"context"
	"fmt"
	"net"
)

// openTenant opens what a tenant has on this node, whose accounts are there, and brings its queues back.
func (g *Gateway) openTenant(cfg TenantConfig, names accounts) (*tenant, error) {
	t := &tenant{name: cfg.Name, accounts: names, gateway: g, server: g.server, requests: newRequests(), routes: newRoutes(), queues: newRegistry()}
	t.gone, t.depart = context.WithCancel(context.Background())
	t.quota.set(cfg.Limits)
	if err := t.connect(names); err != nil {
		t.end()
		return nil, fmt.Errorf("open tenant %q: %w", cfg.Name, err)
	}
	return t, nil
}

// connect connects to the accounts.
func (t *tenant) connect(names accounts) (err error) {
	if t.audience, err = t.server.LookupAccount(names.live); err != nil {
		return err
	}
	dial := func() (net.Conn, error) { return t.server.InProcessConn() }
	for _, l := range []struct {
		link    **link
		account string
	}{{&t.live, names.live}, {&t.doors, names.own}, {&t.natives, names.ingress}} {
		if *l.link, err = newLink(dial, l.account, t.server.password, t.gateway.log); err != nil {
			return err
		}
	}
	if t.streams, err = openStreams(t.gateway.ctx, t.gateway, names.own); err != nil {
		return err
	}
	t.fans = &fanout{link: t.doors, topics: map[string]*topic{}}
	t.ingress = newIngress(t.natives, t.ingest)
	return t.begin(t.gateway.ctx)
}

// begin subscribes to the inboxes and brings queues and bindings back.
func (t *tenant) begin(ctx context.Context) error {
	if _, err := t.doors.subscribe(t.requests.prefix+"*", "", t.requests.arrived); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, restoreTimeout)
	defer cancel()
	for _, l := range []*link{t.live, t.doors, t.natives} {
		if err := l.flush(ctx); err != nil {
			return fmt.Errorf("log in to the bus: %w", err)
		}
	}
	return t.restore(ctx)
}

// end closes queues, then connections. It may be called for a tenant that is open in part.
func (t *tenant) end() {
	t.closeQueues()
	t.streams.close()
	for _, l := range []*link{t.natives, t.doors, t.live} {
		if l != nil {
			l.close()
		}
	}
}

// flush returns when the subscribers of this node have been handed everything that was published before through its doors.
func (t *tenant) flush(ctx context.Context) error {
	// The server takes what a connection sends in order, and tells it in order, too: after the answer to the first nothing is on its way to the server, after that to the second nothing is on its way back.
	for _, l := range []*link{t.live, t.doors} {
		if err := l.flush(ctx); err != nil {
			return unavailable(err)
		}
	}
	return nil
}
