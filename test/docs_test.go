package layout

import (
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
)

// link finds the targets of Markdown links, without the part behind #.
var link = regexp.MustCompile(`\]\(([^)#\s]+)(?:#[^)]*)?\)`)

// TestLinks: every link from one page to a file of the tree leads somewhere.
func TestLinks(t *testing.T) {
	root := os.DirFS("..")
	pages := 0
	err := fs.WalkDir(root, ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return skip(root, p)
		case path.Ext(p) != ".md":
			return nil
		}
		pages++
		text, err := fs.ReadFile(root, p)
		if err != nil {
			return err
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := fs.Stat(root, path.Join(path.Dir(p), m[1])); err != nil {
				t.Errorf("%s: the link to %s leads nowhere", p, m[1])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if pages < 5 {
		t.Errorf("found %d pages: the test looks in the wrong place", pages)
	}
}

// TestEveryDecisionIsListed: the index of decisions names every record.
func TestEveryDecisionIsListed(t *testing.T) {
	index, err := os.ReadFile("../docs/adr/README.md")
	if err != nil {
		t.Fatal(err)
	}
	records, err := fs.Glob(os.DirFS("../docs/adr"), "[0-9]*.md")
	if err != nil || len(records) == 0 {
		t.Fatalf("found %d records, %v", len(records), err)
	}
	for _, record := range records {
		if !strings.Contains(string(index), "("+record+")") {
			t.Errorf("docs/adr/README.md does not list %s", record)
		}
	}
}
