// Package e2e shows that every door reaches every other: real clients of six protocols at one gateway. The matrix is in
// matrix_test.go; each protocol's verbs are in the file that bears its name.
package e2e
