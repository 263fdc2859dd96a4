# A drill on clones of the copies, beside the load: production is not touched by it, and nothing is left.

within 3m
estate two-city
start
load rate 100 accounts 600 via a,b
wait load steady 20s

step "a drill of corebank on clones of its copies" drill zh "在副本克隆上演练 corebank"
  generate drill system corebank
  run drill-corebank mode drill as ann because "the drill of the quarter"
  # Who takes part sees the data that the drill works on, and of nobody a name, a phone number or a document.
  wait run asks look-u1-head-office 60s
  wait run asks look-u2-clearing-house 60s
  fetch u1 as head-office
  fetch u2 as head-office
  fetch u1 as clearing-house at c
  complete look-u1-head-office set usable=true
  complete look-u1-clearing-house set usable=true
  complete look-u2-head-office set usable=true
  complete look-u2-clearing-house set usable=true
  wait run over 60s
  wait gap closed 10s
end

# After a switch the data is taken from where the copy is then.
step "the drill is generated anew where the unit has moved" takeover zh "单元切换后重新生成演练" switches u1 1 switches u2 0
  switch u1 to b
  wait u1 at b in-sync 60s
  wait gap closed 10s
end
step "a drill after the switch" drill zh "切换后的演练"
  generate drill site b
  run drill-site-b mode drill as ann because "the drill after the switch"
  wait run asks look-u1-head-office 60s
  fetch u1 as head-office
  wait run asks look-u2-head-office 60s
  complete look-u1-head-office set usable=true
  complete look-u1-clearing-house set usable=true
  complete look-u2-head-office set usable=true
  complete look-u2-clearing-house set usable=true
  wait run over 60s
  wait gap closed 10s
end
evidence
check
