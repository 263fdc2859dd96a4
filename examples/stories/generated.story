# Recovery plans are generated from the estate, checked, applied and carried out, with everybody in them who has a part: a takeover of all that is at
# site a, the way home, and the loss of the site.

within 4m
estate two-city
policy u1 failover confirm # what to do when the site is lost is people's decision here
start
load rate 200 accounts 1000 via a,b,c
wait load steady 30s

# A drill on clones of the copies, beside the load: production is not touched by it, and nothing is left.
generate drill system corebank
run drill-corebank mode drill as ann because "the quarter's drill"
wait run asks look-u1-head-office 60s
wait run asks look-u2-head-office 60s
complete look-u1-head-office set usable=true
complete look-u1-clearing-house set usable=true
complete look-u2-head-office set usable=true
complete look-u2-clearing-house set usable=true
wait run over 60s
# The copy in the other city is asynchronous: a takeover could lose something.
generate takeover site a to c refused "mode takeover may lose nothing"

step "site a is left by its generated plan" takeover zh "按生成的预案撤离站点 A" switches u1 1 switches u2 0
  generate takeover site a
  run takeover-site-a mode takeover as ann because "power works at a"
  wait run asks agree 30s
  approve agree for commander as ann refused "started"
  approve agree for commander as bob because "agreed with the branches"
  wait run asks ready-head-office 30s
  orders hold 9 u1 as ann # what customers wanted meanwhile is kept by the head office, and two of them came on paper
  complete ready-head-office set held=9
  wait run asks ready-clearing-house 30s
  complete ready-clearing-house
  wait u1 at b 60s
  wait run asks module-reports-statements 90s
  complete module-reports-statements
  orders enter 6 # through the gateways, each with its key
  orders prove
  wait run asks count-head-office 30s
  complete count-head-office set difference=0 set entered=6
  wait run over 30s
  wait u1 at b in-sync 40s
  wait gap closed 10s
end

# Nothing goes home while an order is open: neither a switch by hand nor the plan, until the last one is entered or dropped with a reason.
switch u1 to a mode switch-back refused "3 orders of u1 are open"
step "site a is taken up again by its generated plan" switch-back zh "按生成的预案回切站点 A" switches u1 1 switches u2 0
  generate switch-back site a
  run switch-back-site-a mode switch-back as bob because "power works are over"
  wait run asks orders-u1 30s
  orders enter 1
  retry orders-u1 as ann because "one more was entered"
  wait run asks orders-u1 30s
  orders drop 1 as ann because "the customer took it back"
  orders enter 1
  retry orders-u1 as ann because "the last ones are entered or dropped"
  wait run asks agree 30s
  approve agree for commander as ann
  wait run asks reconciled 30s
  complete reconciled
  wait run asks ready-head-office 30s
  complete ready-head-office
  wait run asks ready-clearing-house 30s
  complete ready-clearing-house
  wait u1 at a 60s
  wait run asks module-reports-statements 90s
  complete module-reports-statements
  wait run asks count-head-office 30s
  complete count-head-office set difference=0
  wait run over 30s
  wait u1 at a in-sync 40s
  wait gap closed 10s
end

# Nobody is asked before the switch, and what people have to do is done beside it.
generate emergency site a
step "site a is lost, its generated plan is carried out" emergency zh "站点 A 失效，执行按生成的紧急预案" switches u1 1 switches u2 0
  fault kill site a
  run emergency-site-a mode emergency as ann because "no power at a"
  wait u1 at b 60s
  wait gap closed 20s
  wait run asks announce 30s
  complete announce set announced=at-once
  wait run asks module-reports-statements 60s
  complete module-reports-statements
  wait run over 30s
  start site a
  wait u1 in-sync 60s
  wait u2 in-sync 60s
end
evidence
check
