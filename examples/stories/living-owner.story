# Smoke in the hall of site a: everything there still works, and people do not wait for the end. In an emergency no window is asked for. The owner lives and
# its copies wait for it, so it hands over in order, and nothing is lost.
estate two-city
start
load rate 200 accounts 1000 via a,b,c
wait load steady 30s
step "u1 leaves a that still lives" emergency zh "A 尚存时紧急切出 u1" switches u1 1 switches u2 0
  switch u1 to b mode emergency as ann
  wait u1 at b in-sync 40s
  wait gap closed 10s
end
# And what has died meanwhile is taken over as ever.
step "a dies" emergency zh "A 失效" switches u1 0 switches u2 0
  fault kill site a
  pass 3s
  start site a
  wait u1 in-sync 90s
  wait u2 in-sync 90s
end
check
