# Drills that are cancelled, and drills whose parts die in the middle: production is not touched, and nothing of them is left.

within 5m
estate two-city
start
load rate 100 accounts 600 via a,b
wait load steady 20s

# u1 is current at a, u2 at b: each is cloned at the other site of the city.
step "a drill is cancelled while its clone is verified" drill zh "核验副本克隆时取消演练"
  generate drill system corebank
  run drill-corebank mode drill as ann because "it will be cancelled"
  wait run at verify-u1 60s
  cancel run as ann because "the drill is cancelled"
  wait run cancelled 60s
  wait sandboxes gone 5s
end

step "the agents beside the clones die while they are made" drill zh "克隆过程中代理进程被杀"
  run drill-corebank mode drill as ann because "its agents will die"
  wait run at clone-u1 60s
  fault crash agent of u1-b harmless
  fault crash agent of u2-a harmless
  wait run asks look-u1-head-office 90s
  wait run asks look-u2-head-office 90s
  complete look-u1-head-office set usable=true
  complete look-u1-clearing-house set usable=true
  complete look-u2-head-office set usable=true
  complete look-u2-clearing-house set usable=true
  wait run over 60s
  wait sandboxes gone 5s
end

step "the sandbox's agent and its servers die at once" drill zh "代理与数据库进程同时被杀"
  run drill-corebank mode drill as ann because "its agent and all of its servers will die"
  wait run at open-u1 60s
  fault crash process agent-u1-b
  wait run asks look-u1-head-office 90s
  wait run asks look-u2-head-office 90s
  complete look-u1-head-office set usable=true
  complete look-u1-clearing-house set usable=true
  complete look-u2-head-office set usable=true
  complete look-u2-clearing-house set usable=true
  wait run over 60s
  wait sandboxes gone 5s
  wait estate ready 60s
end

step "the sandbox's agents die while it is masked" drill zh "脱敏时代理进程被杀"
  run drill-corebank mode drill as ann because "its agents will die once more"
  wait run at mask-u1 60s
  fault crash agent of u1-b harmless
  wait run at mask-u2 60s
  fault crash agent of u2-a harmless
  wait run asks look-u1-head-office 90s
  wait run asks look-u2-head-office 90s
  fetch u1 as head-office
  fetch u2 as clearing-house
  complete look-u1-head-office set usable=true
  complete look-u1-clearing-house set usable=true
  complete look-u2-head-office set usable=true
  complete look-u2-clearing-house set usable=true
  wait run over 60s
  wait sandboxes gone 5s
end

step "the node that carries it out dies" drill zh "执行演练的控制节点被杀"
  run drill-corebank mode drill as ann because "the node that carries it out will die"
  wait run at open-u1 60s
  fault crash process leader harmless
  wait run asks look-u1-head-office 90s
  wait run asks look-u2-head-office 90s
  complete look-u1-head-office set usable=true
  complete look-u1-clearing-house set usable=true
  complete look-u2-head-office set usable=true
  complete look-u2-clearing-house set usable=true
  wait run over 60s
  wait sandboxes gone 5s
  wait estate ready 60s
end

step "everything at a copy's site dies, and comes back" drill zh "副本所在站点全部中断后恢复"
  run drill-corebank mode drill as ann because "a site will be lost in the middle of it"
  wait run at verify-u2 60s
  fault kill site a
  wait u1 at b 30s
  start site a
  cancel run as ann because "the business is more important now"
  wait run cancelled 90s
  wait estate ready 90s
  wait sandboxes gone 5s
end
evidence
check
