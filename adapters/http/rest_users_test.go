package httpapi_test

import (
	"bufio"
	"net/http"
	"strings"
	"testing"

	"portico/core"
	"portico/core/coretest"

	httpapi "portico/adapters/http"
)

type userShown struct {
	Name       string
	Configured bool
	Password   bool
	Roles      []string
	Publish    []string
	Disabled   bool
}

type tokenShown struct{ ID, Label, Token, Expires string }

func administrator() func(*core.Config) {
	return coretest.Users(core.User{Name: "root", Password: "root", Roles: []string{"administrator"}}, core.User{Name: "low", Password: "low", Publish: []string{"low.>"}})
}

func bearer(token string) option { return with("Authorization", "Bearer "+token) }

func TestUsers(t *testing.T) {
	d := open(t, httpapi.Config{}, administrator())
	root := as("root", "root")
	made := d.do("PUT", "/v1/users/ann%20b", `{"password":"one","publish":["a.>"],"roles":["monitoring"]}`, root)
	if x := want[userShown](t, made, 201); x.Name != "ann b" || x.Configured || !x.Password || len(x.Publish) != 1 {
		t.Errorf("created %+v", x)
	}
	if strings.Contains(string(made.body), "argon2") {
		t.Errorf("the answer shows a hash: %s", made.body)
	}
	ann := as("ann b", "one")
	if a := d.do("POST", "/v1/publish/a.b", "x", ann); a.status/100 != 2 {
		t.Errorf("publish: %d %s", a.status, a.body)
	}
	refused(t, d.do("POST", "/v1/publish/b", "x", ann), 403, core.CodePermissionDenied)
	changed := want[userShown](t, d.do("PUT", "/v1/users/ann%20b", `{"publish":["b"]}`, root), 200) // the password stays
	if len(changed.Roles) != 0 || !changed.Password {
		t.Errorf("changed %+v", changed)
	}
	if a := d.do("POST", "/v1/publish/b", "x", ann); a.status/100 != 2 {
		t.Errorf("publish: %d %s", a.status, a.body)
	}
	if one := want[userShown](t, d.do("GET", "/v1/users/ann%20b", "", root), 200); one.Name != "ann b" || !one.Password {
		t.Errorf("described %+v", one)
	}
	all := want[struct{ Items []userShown }](t, d.do("GET", "/v1/users", "", root), 200).Items
	if len(all) != 3 || all[0].Name != "ann b" || all[1].Name != "low" || !all[1].Configured || all[2].Name != "root" {
		t.Errorf("list %+v", all)
	}
	page := want[struct {
		Items []userShown
		Next  string
	}](t, d.do("GET", "/v1/users?limit=2", "", root), 200)
	if len(page.Items) != 2 || page.Next == "" {
		t.Errorf("page %+v", page)
	}
	if a := d.do("DELETE", "/v1/users/ann%20b", "", root); a.status != 204 {
		t.Errorf("delete: %d %s", a.status, a.body)
	}
	refused(t, d.do("POST", "/v1/publish/b", "x", ann), 401, core.CodeUnauthenticated)
	for name, c := range map[string]struct {
		method, path, body string
		status             int
		code               core.Code
	}{
		"deleted already":       {"DELETE", "/v1/users/ann%20b", "", 404, core.CodeNotFound},
		"nobody":                {"GET", "/v1/users/nobody", "", 404, core.CodeNotFound},
		"of the configuration":  {"PUT", "/v1/users/low", `{"password":"x"}`, 403, core.CodePermissionDenied},
		"delete of that":        {"DELETE", "/v1/users/low", "", 403, core.CodePermissionDenied},
		"no credentials":        {"PUT", "/v1/users/x", `{}`, 400, core.CodeInvalid},
		"no pattern":            {"PUT", "/v1/users/x", `{"password":"x","publish":["a..b"]}`, 400, core.CodeInvalid},
		"no hash":               {"PUT", "/v1/users/x", `{"password_hash":"x"}`, 400, core.CodeInvalid},
		"no permissions":        {"PUT", "/v1/users/x", `{"password":"x","permissions":{"queue":{"fly":{"allow":["a"]}}}}`, 400, core.CodeInvalid},
		"unknown field":         {"PUT", "/v1/users/x", `{"passwort":"x"}`, 400, core.CodeInvalid},
		"tokens of nobody":      {"GET", "/v1/users/nobody/tokens", "", 404, core.CodeNotFound},
		"a token for nobody":    {"POST", "/v1/users/nobody/tokens", "{}", 404, core.CodeNotFound},
		"a token for centuries": {"POST", "/v1/users/low/tokens", `{"expires_in":31536000000}`, 400, core.CodeInvalid},
		"no such token":         {"DELETE", "/v1/users/low/tokens/x", "", 404, core.CodeNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, d.do(c.method, c.path, c.body, root), c.status, c.code)
			refused(t, d.do(c.method, c.path, c.body, as("low", "low")), 403, core.CodePermissionDenied)
			refused(t, d.do(c.method, c.path, c.body), 401, core.CodeUnauthenticated)
		})
	}
}

func TestTokens(t *testing.T) {
	d := open(t, httpapi.Config{}, administrator())
	root := as("root", "root")
	made := d.do("POST", "/v1/users/low/tokens", `{"label":"till","expires_in":3600}`, root)
	token := want[tokenShown](t, made, 201)
	if token.Label != "till" || !strings.HasPrefix(token.Token, "ptk_") || token.Expires == "" || made.header.Get("Cache-Control") != "no-store" {
		t.Errorf("made %+v, %v", token, made.header)
	}
	if a := d.do("POST", "/v1/publish/low.x", "x", bearer(token.Token)); a.status/100 != 2 {
		t.Errorf("bearer: %d %s", a.status, a.body)
	}
	if a := d.do("POST", "/v1/publish/low.x", "x", as("low", token.Token)); a.status/100 != 2 {
		t.Errorf("as the password: %d %s", a.status, a.body)
	}
	refused(t, d.do("POST", "/v1/publish/x", "x", bearer(token.Token)), 403, core.CodePermissionDenied)
	refused(t, d.do("GET", "/v1/queues", "", bearer("ptk_x")), 401, core.CodeUnauthenticated)
	list := d.do("GET", "/v1/users/low/tokens", "", root)
	if all := want[struct{ Items []tokenShown }](t, list, 200).Items; len(all) != 1 || all[0].ID != token.ID || all[0].Token != "" {
		t.Errorf("list %+v", all)
	}
	if a := d.do("DELETE", "/v1/users/low/tokens/"+token.ID, "", root); a.status != 204 {
		t.Errorf("revoke: %d %s", a.status, a.body)
	}
	refused(t, d.do("POST", "/v1/publish/low.x", "x", bearer(token.Token)), 401, core.CodeUnauthenticated)
}

// TestAnEventStreamEndsWithItsToken reads a stream whose token is revoked, and one that is not open to anybody yet.
func TestAnEventStreamEndsWithItsToken(t *testing.T) {
	d := open(t, httpapi.Config{}, administrator())
	root := as("root", "root")
	token := want[tokenShown](t, d.do("POST", "/v1/users/root/tokens", "{}", root), 201)
	resp, err := http.DefaultClient.Do(d.request("GET", "/v1/subscribe?subject=a", "", bearer(token.Token)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	if resp.StatusCode != 200 || !lines.Scan() {
		t.Fatalf("status %d, %v", resp.StatusCode, lines.Err())
	}
	if a := d.do("DELETE", "/v1/users/root/tokens/"+token.ID, "", root); a.status != 204 {
		t.Fatalf("revoke: %d %s", a.status, a.body)
	}
	last := ""
	for lines.Scan() {
		if lines.Text() != "" {
			last = lines.Text()
		}
	}
	if !strings.Contains(last, "unauthenticated") || !strings.Contains(last, "revoked") {
		t.Errorf("the last line is %q", last)
	}
}
