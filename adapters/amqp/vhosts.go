package amqp

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"portico/core"
)

// vhosts are the virtual hosts: one for each tenant. It implements core.TenantWatcher.
type vhosts struct {
	// immutable
	adapter *Adapter
	gateway *core.Gateway
	log     *slog.Logger

	// guarded by mu
	mu     sync.RWMutex
	byName map[string]*vhost
	over   bool
}

func newVhosts(a *Adapter) *vhosts {
	return &vhosts{adapter: a, gateway: a.gateway, log: a.log, byName: map[string]*vhost{}}
}

// get returns the virtual host of that name, nil if there is none.
func (v *vhosts) get(name string) *vhost {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.byName[name]
}

// TenantOpened implements core.TenantWatcher: it restores exchanges and bindings, and becomes the router of the tenant's bus.
func (v *vhosts) TenantOpened(bus *core.Bus) error {
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	host, err := openVhost(ctx, bus, v.gateway, v.log)
	if err != nil {
		return fmt.Errorf("amqp: restore topology of %q: %w", bus.Tenant(), err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.over {
		host.close()
		return nil
	}
	v.byName[bus.Tenant()] = host
	return nil
}

// TenantClosed implements core.TenantWatcher: it ends the connections to the virtual host.
func (v *vhosts) TenantClosed(name string) {
	v.mu.Lock()
	host := v.byName[name]
	delete(v.byName, name)
	v.mu.Unlock()
	if host == nil {
		return
	}
	deadline := time.Now().Add(closeTimeout)
	v.adapter.each(func(c *conn) {
		if c.opened.Load() > 0 && c.vhost == host {
			c.shutdown(deadline, fmt.Sprintf("vhost '%s' is deleted", name))
		}
	})
	host.close()
}

// close ends the door's part in every tenant. It may be called twice.
func (v *vhosts) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.over = true
	for _, host := range v.byName {
		host.close()
	}
}
