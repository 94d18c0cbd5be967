// Package zxcvbn stands in for the copy that `pulumi env` uses (../zxcvbn).
package zxcvbn

import other "github.com/nbutton23/zxcvbn-go"

// PasswordStrength estimates the entropy of a text.
var PasswordStrength = other.PasswordStrength
