// Command generate writes the assets into a folder, and the generated parts of the library's documentation into its file: generate WEB DIST MANUAL.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"portico/web/build"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: generate WEB DIST MANUAL")
		os.Exit(2)
	}
	err := generate(os.Args[1], os.Args[2])
	if err == nil {
		err = document(os.Args[1], os.Args[3])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

// document makes the generated parts of a manual anew.
func document(web, manual string) error {
	text, err := os.ReadFile(manual)
	if err != nil {
		return err
	}
	if text, err = build.Manual(web, text); err != nil {
		return err
	}
	return os.WriteFile(manual, text, 0o644)
}

// generate replaces what is in dist.
func generate(web, dist string) error {
	assets, err := build.Build(web)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(dist); err != nil {
		return err
	}
	if err := os.MkdirAll(dist, 0o755); err != nil {
		return err
	}
	for name, content := range assets {
		file := filepath.Join(dist, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
