# The owner's site is alive and nobody reaches it. It must not take its copy out of the set by itself: the copy takes over.
estate one-unit
start
load rate 60 accounts 400 via a,b
wait load steady 30s
step "the owner is cut off" failover switches u1 1
  fault cut a both
  wait u1 at b 20s
  pass 2s
  heal
  wait gap closed 20s
end
check
