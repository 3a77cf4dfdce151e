{ echo flush set inet edge scanners4; echo flush set inet edge scanners6
  sed -nE 's/^([0-9.]+)( .*)?$/add element inet edge scanners4 { \1 timeout 1h }/p
    s/^([0-9a-f.]*:[0-9a-f.:]*)( .*)?$/add element inet edge scanners6 { \1 timeout 1h }/p' "$1"
} | nft -f -
