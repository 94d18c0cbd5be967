// Package zxcvbn stands in for two copies of zxcvbn-go, of which pulumi asks one thing: whether a value of `config set`
// looks like a secret. Both read their dictionaries whenever pulumi starts, which is more than half of its start.
package zxcvbn

import "math"

// Strength is the part of the estimate that pulumi reads.
type Strength struct {
	// Entropy in bits.
	Entropy float64
}

// PasswordStrength estimates the entropy of a text by how evenly it uses its characters.
func PasswordStrength(text string, _ []string) Strength {
	counts := map[rune]float64{}
	length := 0.0
	for _, character := range text {
		counts[character]++
		length++
	}
	bits := 0.0
	for _, count := range counts {
		bits -= count * math.Log2(count/length)
	}
	return Strength{Entropy: bits}
}
