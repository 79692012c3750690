package core_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"portico/core"
	"portico/core/audit"
	"portico/core/coretest"

	"github.com/nats-io/nats.go"
)

// TestRefusedTenantsAreWrittenDown: whoever is known but may not enter a tenant has not come in, and the audit log does not say so.
func TestRefusedTenantsAreWrittenDown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	log, err := audit.Open(audit.Config{File: path}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	g := coretest.Start(t, coretest.Users(core.User{Name: "ann", Password: "ann"}), func(c *core.Config) { c.Audit = log })
	putTenant(t, g, core.TenantConfig{Name: "a"})
	_, err = g.Login(t.Context(), core.Credentials{Door: "http", User: "ann", Password: "ann", Tenant: "a"})
	wantCode(t, "another tenant", err, core.CodePermissionDenied)
	if nc, err := nats.Connect("nats://"+g.NATSAddr(), nats.UserInfo("a:ann", "ann"), nats.MaxReconnects(0)); err == nil {
		nc.Close()
		t.Error("a NATS client was let in")
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), `"refused"`); n != 2 || strings.Contains(string(text), `"login"`) {
		t.Errorf("%d refusals of two in\n%s", n, text)
	}
}
