package amqp_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// docs/amqp.md names a test for what it says; each must be there.
func TestDocumentNamesRealTests(t *testing.T) {
	doc, err := os.ReadFile("../../docs/amqp.md")
	must(t, err)
	var code strings.Builder
	for _, pattern := range []string{"*_test.go", "../../test/amqp091/*_test.go", "../../cmd/gateway/*_test.go"} {
		files, err := filepath.Glob(pattern)
		must(t, err)
		for _, f := range files {
			b, err := os.ReadFile(f)
			must(t, err)
			code.Write(b)
		}
	}
	named := regexp.MustCompile(`\bTest[A-Z]\w+`).FindAllString(string(doc), -1)
	if len(named) < 50 {
		t.Fatalf("only %d tests are named", len(named))
	}
	for _, name := range named {
		if !strings.Contains(code.String(), name) {
			t.Errorf("%s is named and not there", name)
		}
	}
}
