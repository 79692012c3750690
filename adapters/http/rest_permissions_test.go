package httpapi_test

import (
	"errors"
	"testing"

	"portico/core"

	httpapi "portico/adapters/http"
)

type permissionShown struct {
	Allowed bool
	Rule    string
}

func TestPermissionsOfUsers(t *testing.T) {
	d := open(t, httpapi.Config{}, administrator())
	root := as("root", "root")
	want[userShown](t, d.do("PUT", "/v1/users/ann", `{"password":"one","publish":["a.>"],"roles":["none"]}`, root), 201)
	ann := as("ann", "one")
	if a := d.do("POST", "/v1/publish/a.b", "x", ann); a.status/100 != 2 {
		t.Errorf("publish: %d %s", a.status, a.body)
	}
	type lists struct{ Allow, Deny []string }
	type permissions struct{ Publish lists }
	changed := want[permissions](t, d.do("PUT", "/v1/users/ann/permissions", `{"publish":{"deny":["a.b"]},"queue":{"consume":{"allow":["jobs-*"]}}}`, root), 200)
	if shown := want[permissions](t, d.do("GET", "/v1/users/ann/permissions", "", root), 200); len(shown.Publish.Deny) != 1 || len(changed.Publish.Deny) != 1 {
		t.Errorf("shown %+v, changed %+v", shown, changed)
	}
	refused(t, d.do("POST", "/v1/publish/a.b", "x", ann), 403, core.CodePermissionDenied)
	for query, expected := range map[string]permissionShown{
		"action=publish&name=a.c":                      {true, `publish.allow[0] "a.>"`},
		"action=publish&name=a.b":                      {false, `publish.deny[0] "a.b"`},
		"action=publish&name=b&door=mqtt":              {false, "NATS publish allow: _INBOX.> a.> do not cover it"},
		"action=queue.consume&name=jobs-eu":            {true, `queue.consume.allow[0] "jobs-*"`},
		"action=exchange.write&name=a&key=b&door=amqp": {false, `publish.deny[0] "a.b"`},
		"action=administer":                            {false, "no role for this"},
	} {
		if got := want[permissionShown](t, d.do("GET", "/v1/users/ann/permissions/test?"+query, "", root), 200); got != expected {
			t.Errorf("%s: %+v, want %+v", query, got, expected)
		}
	}
	for name, c := range map[string]struct {
		method, path, body string
		who                option
		status             int
		code               core.Code
	}{
		"of nobody":           {"GET", "/v1/users/eve/permissions", "", root, 404, core.CodeNotFound},
		"to nobody":           {"PUT", "/v1/users/eve/permissions", "{}", root, 404, core.CodeNotFound},
		"tested for nobody":   {"GET", "/v1/users/eve/permissions/test?action=publish", "", root, 404, core.CodeNotFound},
		"of the file":         {"PUT", "/v1/users/low/permissions", "{}", root, 403, core.CodePermissionDenied},
		"a bad pattern":       {"PUT", "/v1/users/ann/permissions", `{"publish":{"allow":["a..b"]}}`, root, 400, core.CodeInvalid},
		"a bad action":        {"GET", "/v1/users/ann/permissions/test?action=eat", "", root, 400, core.CodeInvalid},
		"by no administrator": {"GET", "/v1/users/ann/permissions", "", ann, 403, core.CodePermissionDenied},
		"tested by another":   {"GET", "/v1/users/ann/permissions/test?action=publish&name=a", "", ann, 403, core.CodePermissionDenied},
		"reload, not there":   {"POST", "/v1/configuration/reload", "", root, 501, core.CodeUnimplemented},
		"reload by another":   {"POST", "/v1/configuration/reload", "", ann, 403, core.CodePermissionDenied},
	} {
		t.Run(name, func(t *testing.T) { refused(t, d.do(c.method, c.path, c.body, c.who), c.status, c.code) })
	}
}

func TestReloadByREST(t *testing.T) {
	var fails error
	d := open(t, httpapi.Config{Reload: func() (changed, restart []string, err error) { return []string{"users"}, []string{}, fails }}, administrator())
	root := as("root", "root")
	if got := want[struct{ Changed, Restart []string }](t, d.do("POST", "/v1/configuration/reload", "", root), 200); len(got.Changed) != 1 || got.Restart == nil {
		t.Errorf("%+v", got)
	}
	fails = errors.New("users[0]: unknown key")
	refused(t, d.do("POST", "/v1/configuration/reload", "", root), 409, core.CodePreconditionFailed)
}
