package openapi

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portico/test/gateway"
)

const (
	leastRequests = 5000
	fuzzTime      = 8 * time.Minute
)

// TestFuzzedByTheDocument: Schemathesis makes requests of the document, right ones and wrong ones, and finds no answer that the document does not list, none that is not as its
// schema says, no fault, and no 4xx that is no problem document. Without the program it is skipped (pip install schemathesis).
func TestFuzzedByTheDocument(t *testing.T) {
	schemathesis := program(t, "schemathesis")
	// A user of its own: the first that a request makes would shut everybody else out of a gateway without users.
	g := gateway.Start(t, "--users", `[{"name":"fuzz","password":"fuzz","roles":["administrator"],"tenants":["*"]}]`)
	hooks, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	report := filepath.Join(t.TempDir(), "report.ndjson")
	args := []string{
		"--config-file", filepath.Join(hooks, "schemathesis.toml"), "run", g.Doors["HTTP"] + "/v1/openapi.json",
		"--checks", "status_code_conformance,content_type_conformance,response_schema_conformance,no_fault", "--phases", "examples,coverage,fuzzing",
		"--max-examples", "3", "--continue-on-failure", "--request-timeout", "20", "--auth", "fuzz:fuzz", "--suppress-health-check", "all", "--no-color",
		"--report", "ndjson", "--report-ndjson-path", report,
	}
	for _, id := range endless(parsed(t, served(t, g))) {
		args = append(args, "--exclude-operation-id", id)
	}
	ctx, cancel := context.WithTimeout(t.Context(), fuzzTime)
	defer cancel()
	fuzz := exec.CommandContext(ctx, schemathesis, args...)
	fuzz.Dir = t.TempDir()
	fuzz.Env = append(os.Environ(), "SCHEMATHESIS_HOOKS=hooks", "PYTHONPATH="+hooks, "PYTHONDONTWRITEBYTECODE=1")
	out, err := fuzz.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, last(string(out), 200))
	}
	if n := requests(t, report); n < leastRequests {
		t.Errorf("%d requests were made, want %d", n, leastRequests)
	} else {
		t.Logf("%d requests", n)
	}
}

// endless lists the operations whose answer is a stream: they end when the client has enough.
func endless(doc object) (ids []string) {
	for path := range child(doc, "paths") {
		for _, op := range child(doc, "paths", path) {
			if child(op.(object), "responses", "200", "content")["text/event-stream"] != nil {
				ids = append(ids, op.(object)["operationId"].(string))
			}
		}
	}
	return ids
}

// requests counts those of a report that were answered.
func requests(t *testing.T, report string) (n int) {
	t.Helper()
	f, err := os.Open(report)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewReader(f)
	for {
		line, err := lines.ReadBytes('\n')
		var event struct {
			ScenarioFinished struct {
				Recorder struct {
					Interactions map[string]struct{ Response json.RawMessage }
				}
			}
		}
		if json.Unmarshal(line, &event) == nil {
			for _, i := range event.ScenarioFinished.Recorder.Interactions {
				if len(i.Response) > 0 && string(i.Response) != "null" {
					n++
				}
			}
		}
		if err != nil {
			return n
		}
	}
}

// last returns the last lines of a text.
func last(text string, lines int) string {
	all := strings.Split(text, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
