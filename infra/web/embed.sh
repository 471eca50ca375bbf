#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Writes the C file that holds the page's files in latido-live:
#
#	infra/web/embed.sh FOLDER >build/gen/web_assets.c
#
# FOLDER/a/b.js is served as /a/b.js; FOLDER/a/b.js.gz and .br beside it are its encoded forms. Files
# whose name begins with a dot are left out. What lies under assets/ has its hash in its name and is
# cached for ever.

set -eu
folder=$1

type_of() {
	case $1 in
	*.html) echo "text/html; charset=utf-8" ;;
	*.js | *.mjs) echo "text/javascript; charset=utf-8" ;;
	*.css) echo "text/css; charset=utf-8" ;;
	*.json | *.map) echo "application/json" ;;
	*.webmanifest) echo "application/manifest+json" ;;
	*.svg) echo "image/svg+xml" ;;
	*.png) echo "image/png" ;;
	*.ico) echo "image/x-icon" ;;
	*.woff2) echo "font/woff2" ;;
	*.txt) echo "text/plain; charset=utf-8" ;;
	*) echo "embed: no content type for $1" >&2; return 1 ;;
	esac
}

include() { # symbol file
	printf '__asm__(".section .rodata\\n.global %s\\n.global %s_end\\n%s:\\n.incbin \\"%s\\"\\n%s_end: .byte 0\\n.previous");\n' \
		"$1" "$1" "$1" "$2" "$1"
	printf 'extern const char %s[], %s_end[];\n' "$1" "$1"
}

printf '/* Made by infra/web/embed.sh. */\n#include "consumers/live/assets.h"\n\n'
files=$(cd "$folder" && find . -type f ! -name '.*' ! -name '*.gz' ! -name '*.br' | LC_ALL=C sort)
[ -n "$files" ] || { echo "embed: nothing in $folder" >&2; exit 1; }
table=
n=0
for file in $files; do
	file=${file#./}
	type=$(type_of "$file")
	hash=$(sha256sum "$folder/$file" | cut -c1-32)
	include "lt_asset_$n" "$folder/$file"
	forms=
	for form in gz br; do
		if [ -e "$folder/$file.$form" ]; then
			include "lt_asset_${n}_$form" "$folder/$file.$form"
			forms="$forms .$form = lt_asset_${n}_$form, .${form}_end = lt_asset_${n}_${form}_end,"
		fi
	done
	case $file in assets/*) fixed=true ;; *) fixed=false ;; esac
	table="$table	{\"/$file\", \"$type\", \"$hash\", $fixed, lt_asset_$n, lt_asset_${n}_end,$forms},
"
	n=$((n + 1))
done
printf '\nconst struct asset live_assets[] = {\n%s};\nconst unsigned live_assets_n = %d;\n' "$table" "$n"
