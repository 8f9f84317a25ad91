fieldguide train dataset/ --recipe finetune
