// Package openapi holds the gateway to its OpenAPI document: the committed one is what the gateway serves, it breaks no client of the one before, linters find nothing in it, and
// a fuzzer that reads it finds no answer that it does not list.
package openapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"portico/test/gateway"
)

const committed = "../../adapters/http/openapi.json"

// served is the document of a real gateway with every door open.
func served(t *testing.T, g *gateway.Gateway) []byte {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.Doors["HTTP"]+"/v1/openapi.json", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("the document: %d, %v", res.StatusCode, err)
	}
	return text
}

func parsed(t *testing.T, text []byte) object {
	t.Helper()
	var doc object
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// TestCommittedDocumentIsCurrent also writes it: UPDATE=1, or UPDATE=breaking if what clients rely on may go.
func TestCommittedDocumentIsCurrent(t *testing.T) {
	now := served(t, gateway.Start(t))
	before, err := os.ReadFile(committed)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	update := os.Getenv("UPDATE")
	if before != nil && update != "breaking" {
		for _, what := range breaking(parsed(t, before), parsed(t, now)) {
			t.Errorf("breaks clients: %s", what)
		}
	}
	if bytes.Equal(before, now) {
		return
	}
	if update == "" {
		t.Fatalf("%s is not what the gateway serves, from line %d on: run UPDATE=1 go test ./test/openapi -run Current", committed, differ(before, now))
	}
	if t.Failed() {
		t.Fatal("not written")
	}
	if err := os.WriteFile(committed, now, 0o644); err != nil {
		t.Fatal(err)
	}
}

// differ is the first line in which a and b are not the same.
func differ(a, b []byte) int {
	before, after := strings.Split(string(a), "\n"), strings.Split(string(b), "\n")
	for i, line := range before {
		if i >= len(after) || after[i] != line {
			return i + 1
		}
	}
	return len(before)
}

// TestDocumentIsLinted by Redocly's rules, without those about style that testdata/redocly.yaml switches off with the reason.
func TestDocumentIsLinted(t *testing.T) {
	npx := program(t, "npx")
	rules, err := filepath.Abs("testdata/redocly.yaml")
	if err != nil {
		t.Fatal(err)
	}
	document, err := filepath.Abs(committed)
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("CI") != "true" && os.Getenv("E2E") != "long" {
		t.Skip("fetches @redocly/cli: with CI=true or E2E=long only")
	}
	lint := exec.CommandContext(t.Context(), npx, "--yes", "@redocly/cli@2.77.0", "lint", "--config", rules, "--format", "stylish", document)
	lint.Dir = t.TempDir()
	lint.Env = append(os.Environ(), "REDOCLY_TELEMETRY=off", "REDOCLY_SUPPRESS_UPDATE_NOTICE=true")
	if out, err := lint.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// program finds a program; without it the test is skipped, but in CI, where it must be there.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		missing := fmt.Sprintf("%s is not installed", name)
		if os.Getenv("CI") == "true" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	return path
}
