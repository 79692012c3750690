package web_test

import (
	"bytes"
	"compress/gzip"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"portico/web"
	"portico/web/build"
)

// budget is the most that the page may cost a newcomer, compressed.
const budget = 20 << 10

func assets(t *testing.T) map[string][]byte {
	t.Helper()
	files, err := web.Assets()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	err = fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		all[path], err = fs.ReadFile(files, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestDistIsCurrent(t *testing.T) {
	built, err := build.Build("src")
	if err != nil {
		t.Fatal(err)
	}
	committed := assets(t)
	if want, got := slices.Sorted(maps.Keys(built)), slices.Sorted(maps.Keys(committed)); !slices.Equal(want, got) {
		t.Fatalf("dist holds %v, the sources make %v: run go generate ./web", got, want)
	}
	for name, want := range built {
		if !bytes.Equal(committed[name], want) {
			t.Errorf("dist/%s is not what the sources make: run go generate ./web", name)
		}
	}
}

func TestSize(t *testing.T) {
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	for _, name := range slices.Sorted(maps.Keys(assets(t))) {
		if _, err := zip.Write(assets(t)[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	if packed.Len() > budget {
		t.Errorf("the page takes %d bytes compressed, the budget is %d", packed.Len(), budget)
	}
}

// TestNothingFromOutside: the page works without the Internet and under a policy that forbids inline code.
func TestNothingFromOutside(t *testing.T) {
	page := string(assets(t)["index.html"])
	for what, pattern := range map[string]string{
		"inline script":  `<script(?:\s+(?:type|src|defer)(?:="[^"]*")?)*>\s*[^<\s]`,
		"inline style":   `<style|\sstyle=`,
		"inline handler": `\son[a-z]+=`,
		"foreign source": `(?:src|href)="(?:[a-z]+:)?//`,
	} {
		if found := regexp.MustCompile(pattern).FindString(page); found != "" {
			t.Errorf("%s: %q", what, found)
		}
	}
	for _, name := range []string{"portico.js", "portico.css"} {
		if text := string(assets(t)[name]); strings.Contains(text, "http://") || strings.Contains(text, "https://") {
			t.Errorf("%s names an address of its own", name)
		}
		if !strings.Contains(page, `"`+name+"?v=") {
			t.Errorf("the page does not name %s with its version", name)
		}
	}
}
