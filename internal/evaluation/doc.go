// Package evaluation judges a run by the criteria of its plan 评估, and finds what has to be put right 待整改问题. Both follow from program and journal
// alone: the same run is judged the same by everybody.
//
//	J1  What nobody saw is not known, and never counts as met: what a person says in the place of a driver, and what no run can show.
//	J2  A problem is settled by a run that meets the criterion that was missed, or does the step by itself and at once; never by one in which that
//	    is not known.
package evaluation
