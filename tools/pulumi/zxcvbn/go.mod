module meshup.invalid/tools/pulumi/zxcvbn

go 1.26.0
