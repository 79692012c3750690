package main

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"portico/adapters/amqp"
)

// TestAMQPDocumentedExamples plays the curl lines for /v1/amqp in docs/http.md in their order: each must succeed.
func TestAMQPDocumentedExamples(t *testing.T) {
	s := openSite(t, nil)
	doc := readDoc(t)
	lines := regexp.MustCompile(`(?m)^curl (.*)http://127\.0\.0\.1:8080/v1/amqp/([^\s']+)'?$`).FindAllStringSubmatch(doc, -1)
	if len(lines) < 10 {
		t.Fatalf("found %d examples", len(lines))
	}
	for _, line := range lines {
		method, body := http.MethodGet, ""
		if m := regexp.MustCompile(`-d '([^']*)'`).FindStringSubmatch(line[1]); m != nil {
			method, body = http.MethodPost, m[1]
		}
		if m := regexp.MustCompile(`-X (\w+)`).FindStringSubmatch(line[1]); m != nil {
			method = m[1]
		}
		a := s.do(method, line[2], body)
		if a.status >= 300 {
			t.Errorf("%s: %d %s", line[0], a.status, a.body)
		}
		if strings.HasSuffix(line[2], "/publish") && a.body != `{"routed":true}` {
			t.Errorf("%s: %s", line[0], a.body)
		}
	}
}

// TestAMQPDocumentedResources: the table names every resource with the methods that it has.
func TestAMQPDocumentedResources(t *testing.T) {
	api := (&amqp.Adapter{}).API()
	rows := regexp.MustCompile("(?m)^\\| (`(?:overview|exchanges|queues|bindings|connections|consumers|policies)[^|]*) \\| ([^|]*) \\|$").FindAllStringSubmatch(readDoc(t), -1)
	if len(rows) < 12 {
		t.Fatalf("found %d rows", len(rows))
	}
	for _, row := range rows {
		methods := map[string]bool{}
		for _, resource := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
			path := strings.ReplaceAll(resource[1], "…/destination", "exchanges/{x}/bindings/destination")
			known := api.Methods(strings.Split(path, "/"))
			if known == nil {
				t.Errorf("there is no %s", path)
			}
			for _, m := range known {
				methods[m] = true
			}
		}
		for _, m := range []string{"GET", "PUT", "POST", "DELETE"} {
			if told := strings.Contains(row[2], m); told != methods[m] {
				t.Errorf("%s: %s told %t, there %t", row[1], m, told, methods[m])
			}
		}
	}
}

func readDoc(t *testing.T) string {
	t.Helper()
	doc, err := os.ReadFile("../../docs/http.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(doc)
}
