// Package queuetest holds a queue.Log in memory that can be torn, delayed and refused at will, and the contract suite that every queue passes
// whatever its log.
package queuetest
