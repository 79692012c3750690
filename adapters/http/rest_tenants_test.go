package httpapi_test

import (
	"slices"
	"testing"

	"portico/core"
	"portico/core/coretest"

	httpapi "portico/adapters/http"
)

type tenantShown struct {
	Name   string
	Config struct {
		Limits  struct{ Queues int }
		Exports []string
	}
	Configured         bool
	Queues, Messages   int
	Bytes, Connections int64
}

func TestTenants(t *testing.T) {
	d := open(t, httpapi.Config{})
	made := d.do("PUT", "/v1/tenants/shop%2Feu", `{"limits":{"queues":1},"exports":["orders.>"]}`)
	if x := want[tenantShown](t, made, 201); x.Name != "shop/eu" || x.Config.Limits.Queues != 1 || !slices.Equal(x.Config.Exports, []string{"orders.>"}) || x.Configured {
		t.Errorf("created %+v", x)
	}
	if x := want[tenantShown](t, d.do("PUT", "/v1/tenants/shop%2Feu", `{"limits":{"queues":2},"exports":["orders.>"]}`), 200); x.Config.Limits.Queues != 2 {
		t.Errorf("changed %+v", x)
	}
	refused(t, d.do("PUT", "/v1/tenants/shop%2Feu", `{}`), 409, core.CodePreconditionFailed)
	refused(t, d.do("PUT", "/v1/tenants/x", `{"exports":[">"]}`), 400, core.CodeInvalid)
	refused(t, d.do("PUT", "/v1/tenants/x", `{"limits":{"queues":-1}}`), 400, core.CodeInvalid)
	refused(t, d.do("PUT", "/v1/tenants/x", `{"limit":{}}`), 400, core.CodeInvalid)
	inside := with("Portico-Tenant", "shop/eu")
	if a := d.do("PUT", "/v1/queues/jobs", "", inside); a.status != 201 {
		t.Fatalf("declare: %d %s", a.status, a.body)
	}
	if a := d.do("POST", "/v1/queues/jobs/messages", "hello", inside); a.status != 200 && a.status != 201 && a.status != 202 {
		t.Fatalf("append: %d %s", a.status, a.body)
	}
	refused(t, d.do("GET", "/v1/queues/jobs", ""), 404, core.CodeNotFound)
	if x := want[tenantShown](t, d.do("GET", "/v1/tenants/shop%2Feu", ""), 200); x.Queues != 1 || x.Messages != 1 || x.Bytes == 0 {
		t.Errorf("it has %+v", x)
	}
	refused(t, d.do("GET", "/v1/webhooks", "", inside), 501, core.CodeUnimplemented)
	refused(t, d.do("GET", "/v1/queues", "", with("Portico-Tenant", "none")), 403, core.CodePermissionDenied)
	list := want[struct{ Tenants []tenantShown }](t, d.do("GET", "/v1/tenants", ""), 200).Tenants
	if len(list) != 2 || list[0].Name != "/" || !list[0].Configured || list[1].Name != "shop/eu" {
		t.Errorf("list: %+v", list)
	}
	refused(t, d.do("DELETE", "/v1/tenants/%2F", ""), 400, core.CodeInvalid)
	if a := d.do("DELETE", "/v1/tenants/shop%2Feu", ""); a.status != 204 {
		t.Errorf("delete: %d %s", a.status, a.body)
	}
	refused(t, d.do("GET", "/v1/tenants/shop%2Feu", ""), 404, core.CodeNotFound)
	refused(t, d.do("DELETE", "/v1/tenants/shop%2Feu", ""), 404, core.CodeNotFound)
}

// TestTenantsAreForAdministrators: and a user stays in the tenants that are the user's.
func TestTenantsAreForAdministrators(t *testing.T) {
	d := open(t, httpapi.Config{}, coretest.Users(
		core.User{Name: "ann", Password: "ann", Tenant: "a"}, core.User{Name: "root", Password: "root", Roles: []string{"administrator"}}))
	root, ann := as("root", "root"), as("ann", "ann")
	want[tenantShown](t, d.do("PUT", "/v1/tenants/a", "{}", root), 201)
	want[tenantShown](t, d.do("PUT", "/v1/tenants/b", "{}", root), 201)
	for _, call := range [][3]string{{"GET", "/v1/tenants"}, {"GET", "/v1/tenants/a"}, {"PUT", "/v1/tenants/c", "{}"}, {"DELETE", "/v1/tenants/a"}} {
		refused(t, d.do(call[0], call[1], call[2], ann), 403, core.CodePermissionDenied)
	}
	if a := d.do("GET", "/v1/queues", "", ann, with("Portico-Tenant", "a")); a.status != 200 {
		t.Errorf("hers: %d %s", a.status, a.body)
	}
	refused(t, d.do("GET", "/v1/queues", "", ann, with("Portico-Tenant", "b")), 403, core.CodePermissionDenied)
}
