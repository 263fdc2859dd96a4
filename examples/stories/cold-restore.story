# Both sites of the city are lost while nothing stands by in the other one: there is an archive of base backups and log, the log of the last seconds
# has not come through. The plan that was generated beforehand restores it, two people accept the loss that is estimated, and the units are open there.

within 6m
estate two-city
policy u1 cold c
policy u2 cold c
start
generate emergency system corebank to c
load rate 150 accounts 1000 via a,b,c
wait load steady 30s
pass 10s # log behind the base backups

step "the city is lost, its units are restored from the archive at c" emergency zh "同城两站点失效，从站点 C 的备份归档恢复" loss no-survivor switches u1 1 switches u2 1
  fault cut c both ports postgres
  pass 3s
  fault kill site a,b
  recover at c as ann
  wait store led 30s
  run emergency-corebank-to-c mode emergency as ann at c because "both sites of the city are gone"
  wait switch u1 accepting 90s
  accept u1 as ann at c because "both sites of the city are gone"
  accept u1 as bob at c because "confirmed by the duty manager"
  wait switch u2 accepting 90s
  accept u2 as ann at c because "both sites of the city are gone"
  accept u2 as bob at c because "confirmed by the duty manager"
  wait u1 at c 30s
  wait u2 at c 30s
  wait run asks announce 30s
  complete announce as ann at c set announced=at-once
  verify u1 as ann at c
  verify u2 as ann at c
  pass 3s # the load meets accounts that are open and credit-only
  release u1 as ann at c because "the books were compared by hand"
  release u2 as ann at c because "the books were compared by hand"
  wait gap closed 20s
  pass 2s
end
check
